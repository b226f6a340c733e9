"""The depth stage: one depth per face, nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_depth_model

from stream.depth.estimator import DepthEstimator
from stream.depth.stage import DepthStage, shrunk
from stream.errors import ConfigError, InputError, ModelError
from stream.geometry import intrinsics_from_fov
from stream.types import Capture, Crop, Depth, Face, Frame

CROPS = (Crop(30.5, 22.0, 15.0, 0.3), Crop(12.0, 20.0, 10.0, -0.2))


@pytest.fixture
def tiny_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_depth_model(16))
    return path


def capture(*crops: Crop) -> Capture:
    image = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    faces = tuple(
        Face(
            index,
            np.zeros((478, 3), np.float32),
            np.eye(4, dtype=np.float32),
            crop,
            intrinsics_from_fov(64, 48),
        )
        for index, crop in enumerate(crops)
    )
    return Capture(Frame(image, 1.0, 0, "test"), faces)


def test_each_face_gets_its_depth(tiny_path: Path) -> None:
    stage = DepthStage(model=tiny_path, threads=1)
    assert stage.name == "depth"
    stage.open()
    given = capture(*CROPS)
    result = stage(given)
    estimator = DepthEstimator(model=tiny_path, threads=1)
    assert len(result.depths) == 2
    for crop, depth in zip(CROPS, result.depths, strict=True):
        expected = estimator.estimate(given.frame.image, crop, given.faces[0].intrinsics)
        np.testing.assert_array_equal(depth.map, expected.map)
        np.testing.assert_array_equal(depth.mask, expected.mask)
    assert np.abs(result.depths[0].map - result.depths[1].map).max() > 1e-3
    assert given.depths == ()
    assert replace(result, depths=()) == given
    stage.close()


def test_the_stage_hands_on_its_choices(tiny_path: Path) -> None:
    stage = DepthStage("onnxruntime", tiny_path, threads=1, precision="f32")
    stage.open()
    exact = DepthEstimator("onnxruntime", tiny_path, threads=1, precision="f32")
    given = capture(CROPS[0])
    expected = exact.estimate(given.frame.image, CROPS[0], given.faces[0].intrinsics)
    np.testing.assert_array_equal(stage(given).depths[0].map, expected.map)
    stage.close()
    for wrong in (DepthStage("abacus", tiny_path), DepthStage(model=tiny_path, precision="int3")):
        with pytest.raises(ConfigError):
            wrong.open()


def test_no_face_gives_no_depth(tiny_path: Path) -> None:
    stage = DepthStage(model=tiny_path, threads=1)
    stage.open()
    assert stage(capture()).depths == ()
    stage.close()


def test_a_bad_crop_raises_and_the_stage_goes_on(tiny_path: Path) -> None:
    stage = DepthStage(model=tiny_path, threads=1)
    stage.open()
    with pytest.raises(InputError):
        stage(capture(Crop(float("nan"), 0.0, 1.0, 0.0)))
    assert len(stage(capture(CROPS[0])).depths) == 1
    stage.close()


def test_open_and_close_belong_around_the_work(tiny_path: Path) -> None:
    stage = DepthStage(model=tiny_path, threads=1)
    with pytest.raises(ModelError, match="not open"):
        stage(capture(CROPS[0]))
    stage.close()  # harmless where `open` never ran or failed
    stage.open()
    stage.close()
    with pytest.raises(ModelError, match="not open"):
        stage(capture(CROPS[0]))


def test_a_model_that_is_missing_stops_at_open(tmp_path: Path) -> None:
    stage = DepthStage(model=tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        stage.open()
    stage.close()


def test_maps_are_shrunk_to_the_side_asked_for(tiny_path: Path) -> None:
    stage = DepthStage(model=tiny_path, threads=1, side=8)
    stage.open()
    assert [depth.map.shape for depth in stage(capture(*CROPS)).depths] == [(8, 8)] * 2
    stage.close()


def test_maps_of_half_the_crop_are_enlarged_to_the_side_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(tiny_depth_model(16, stride=2))
    estimator = DepthEstimator(model=path, threads=1)
    assert (estimator.size, estimator.maps_size) == (16, 8)
    stage = DepthStage(model=path, threads=1, side=12)
    stage.open()
    given = capture(CROPS[0])
    own = estimator.estimate(given.frame.image, CROPS[0], given.faces[0].intrinsics)
    assert own.map.shape == (8, 8)
    depth = stage(given).depths[0]
    assert depth.map.shape == depth.mask.shape == (12, 12)
    np.testing.assert_allclose(depth.map.mean(), own.map.mean(), atol=0.02)
    stage.close()


def test_a_shrunk_plane_is_the_same_plane() -> None:
    """Values are read at the smaller map's pixel centres."""
    axis = (2 * np.arange(48, dtype=np.float32) + 1) / 48 - 1
    plane = 0.3 * axis[None, :] - 0.2 * axis[:, None]
    small = shrunk(Depth(plane, np.ones_like(plane), np.full_like(plane, 0.5)), 32)
    axis = (2 * np.arange(32, dtype=np.float32) + 1) / 32 - 1
    np.testing.assert_allclose(small.map, 0.3 * axis[None, :] - 0.2 * axis[:, None], atol=2e-3)
    assert small.mask.min() == 1
    assert small.confidence is not None
    assert small.confidence.shape == (32, 32)
    assert small.normal is None
