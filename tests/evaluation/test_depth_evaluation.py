"""The depth evaluation ranks answers rightly and refuses what it cannot judge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from depth_shards import bump_arrays

from stream.errors import InputError
from stream.evaluation.depth import best_plane, evaluate_depth, mean_face, plane_predictor
from stream.evaluation.depth_plot import draw_depth_errors
from stream.evaluation.shards import DEPTH_KNOWN, FOREGROUND, Dataset, Samples


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset([Samples(**bump_arrays(8, 32, seed, with_mean=True)) for seed in (1, 2)])


def perfect(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    return samples.depth.astype(np.float32), ((samples.flags & FOREGROUND) > 0).astype(np.float32)


@pytest.fixture(scope="module")
def result(dataset) -> dict:
    predictors = {"perfect": perfect, "mean": mean_face, "plane": plane_predictor(best_plane(dataset))}
    return evaluate_depth(predictors, dataset)


def test_the_truth_has_no_error_and_a_full_mask(result):
    for part in result.values():
        values = part["methods"]["perfect"]
        assert values["l1"] == values["l1_skin"] == 0
        assert values["iou"] == 1
        assert values["normals"] == part["normals_of_truth"] < 6


def test_the_mean_face_is_off_by_its_offset_where_it_covers(result):
    assert result["synthetic"]["methods"]["mean"]["l1_covered"] == pytest.approx(0.1, abs=1e-3)
    assert result["synthetic"]["methods"]["mean"]["iou"] is None


def test_synthetic_samples_and_photos_are_apart(result):
    assert result["synthetic"]["samples"] == 12
    assert result["photos"]["samples"] == 4


def test_no_other_constant_beats_the_best_plane(dataset):
    best = best_plane(dataset)

    def pooled(constant: float) -> float:
        errors = [
            np.abs(shard.depth[i].astype(float) - constant)[(shard.flags[i] & DEPTH_KNOWN) > 0]
            for shard in dataset.shards
            for i in np.flatnonzero(shard.kind == 0)
        ]
        return float(np.concatenate(errors).mean())

    assert all(pooled(best) <= pooled(best + delta) + 1e-6 for delta in (-0.1, -0.02, 0.02, 0.1))


def test_yaw_bins_hold_every_sample_once(dataset):
    def error_is_yaw(samples: Samples) -> tuple[np.ndarray, None]:
        return samples.depth.astype(np.float32) + np.abs(samples.yaw)[:, None, None], None

    methods = evaluate_depth({"yaw": error_is_yaw}, dataset)["synthetic"]["methods"]
    for label, value in methods["yaw"]["l1_by_yaw"].items():
        low, high = map(int, label.split("-"))
        assert value is None or low <= value < high


def test_uncovered_pixels_take_the_nearest_covered_value():
    arrays = bump_arrays(1, 32, 0, with_mean=True)
    arrays["mean_depth"][:] = np.nan
    arrays["mean_depth"][0, 10, 5] = -0.5
    arrays["mean_depth"][0, 10, 25] = 0.25
    filled, _ = mean_face(Samples(**arrays))
    assert filled[0, 10, 0] == filled[0, 0, 2] == -0.5
    assert filled[0, 31, 30] == 0.25
    arrays["mean_depth"][:] = np.nan
    assert not mean_face(Samples(**arrays))[0].any()


def test_a_split_without_mean_face_or_synthetic_samples_is_refused():
    dataset = Dataset([Samples(**bump_arrays(4, 32, 0))])
    with pytest.raises(InputError, match="val or test"):
        evaluate_depth({"perfect": perfect}, dataset)
    photos = bump_arrays(2, 32, 0)
    photos["kind"][:] = 1
    with pytest.raises(InputError, match="no synthetic sample"):
        best_plane(Dataset([Samples(**photos)]))


def test_result_is_plain_and_can_be_drawn(result, tmp_path):
    assert json.loads(json.dumps(result)) == result
    pytest.importorskip("matplotlib")
    draw_depth_errors(result, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 5000
