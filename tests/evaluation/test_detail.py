"""Whether merging pays is measured on the skin, for every variant the network allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from depth_shards import bump_arrays
from tiny_models import tiny_depth_model

from stream.depth.estimator import DepthEstimator
from stream.evaluation.detail import measure_detail
from stream.evaluation.shards import SKIN, Samples


@pytest.fixture
def estimator(tmp_path: Path) -> DepthEstimator:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_depth_model(32))
    return DepthEstimator(model=path, threads=1, precision="f32")


def test_variants_without_normals_are_plain_and_merged(estimator):
    found = measure_detail(estimator, Samples(**bump_arrays(3, 32, seed=1)))
    assert set(found) == {"plain", "merged"}
    for figures in found.values():
        assert figures["mae_mm"] > 0
        assert 0 < figures["normals"] < 90


def test_a_sample_without_skin_counts_for_nothing(estimator):
    arrays = bump_arrays(3, 32, seed=1)
    alone = measure_detail(estimator, Samples(**{name: value[:2] for name, value in arrays.items()}))
    arrays["flags"][2] &= ~np.uint8(SKIN)
    assert measure_detail(estimator, Samples(**arrays))["plain"]["mae_mm"] == pytest.approx(
        alone["plain"]["mae_mm"]
    )
