"""The short judgement for the manifest: right on the truth, apart by kind, free of what is no head."""

from __future__ import annotations

import json

import numpy as np
import pytest
from depth_shards import bump_arrays

from stream.data.shards import FOREGROUND, OCCLUDER, Dataset, Samples
from stream.depth.sight import sight_tilt
from stream.evaluation import regions
from stream.evaluation.depth import engine_predictor, evaluate_depth
from stream.inference.engine import TensorSpec


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset([Samples(**bump_arrays(8, 32, seed)) for seed in (1, 2)])


def perfect(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    return samples.depth.astype(np.float32), regions.foreground(samples).astype(np.float32)


def test_the_truth_has_no_error_and_a_full_mask(dataset):
    result = evaluate_depth({"perfect": perfect}, dataset)
    assert (result["synthetic"]["samples"], result["photos"]["samples"]) == (12, 4)
    for part in result.values():
        values = part["methods"]["perfect"]
        assert values["l1"] == values["l1_skin"] == 0
        assert values["iou"] == 1
        assert values["normals"] < 5
    assert json.loads(json.dumps(result)) == result


def test_an_offset_is_the_error_it_is(dataset):
    def off(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        depth, mask = perfect(samples)
        return depth + 0.125, mask

    values = evaluate_depth({"off": off}, dataset)["synthetic"]["methods"]["off"]
    assert values["l1"] == pytest.approx(0.125, abs=1e-5)


def test_what_is_held_before_the_head_does_not_count():
    arrays = bump_arrays(2, 32, 0)
    arrays["flags"][:, 14:18, 10:20] = (arrays["flags"][:, 14:18, 10:20] & ~np.uint8(FOREGROUND)) | OCCLUDER
    depth = arrays["depth"].astype(np.float32)
    arrays["depth"][:, 14:18, 10:20] = -1.0
    samples = Samples(**arrays)
    mask = regions.foreground(samples).astype(np.float32)
    values = evaluate_depth({"head": lambda _: (depth, mask)}, Dataset([samples]))
    assert values["synthetic"]["methods"]["head"]["l1"] == 0
    assert values["synthetic"]["methods"]["head"]["iou"] == 1


class _Flat:
    """An engine of 16 pixels that finds depth 0.25 everywhere."""

    backend = "none"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", (1, 3, 16, 16), "float32"),)
    outputs: tuple[TensorSpec, ...] = ()

    def run(self, inputs):
        assert inputs["image"].shape == (1, 3, 16, 16)
        return {
            "depth": np.full((1, 1, 16, 16), 0.25, np.float32),
            "mask": np.ones((1, 1, 16, 16), np.float32),
        }

    def close(self) -> None:
        """Nothing to free."""


def test_a_network_of_another_side_is_brought_to_the_samples_and_along_the_axis(dataset):
    samples = dataset.take(np.arange(3))
    depth, mask = engine_predictor(_Flat())(samples)
    np.testing.assert_allclose(depth, 0.25 - sight_tilt(samples.sight, 32), atol=1e-6)
    assert mask.shape == depth.shape
