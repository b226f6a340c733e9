"""The depth stage: one depth per face, nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from people import capture_with, depths_of
from tiny_models import tiny_depth_model

from stream.depth.estimator import DepthEstimator
from stream.depth.maps import resized_depth
from stream.depth.stage import DepthStage
from stream.errors import InputError, ModelError
from stream.geometry import intrinsics_from_fov
from stream.inference.backends import load_engine
from stream.types import Capture, Crop, Depth, Face, Frame

CROPS = (Crop(30.5, 22.0, 15.0, 0.3), Crop(12.0, 20.0, 10.0, -0.2))


@pytest.fixture
def tiny_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_depth_model(16))
    return path


def stage_of(path: Path, smooth: bool = False, **options: Any) -> DepthStage:
    return DepthStage(lambda: load_engine(path, "onnxruntime", threads=1), smooth=smooth, **options)


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
    return capture_with(Frame(image, 1.0, 0, "test"), faces)


def test_each_face_gets_its_depth(tiny_path: Path) -> None:
    stage = stage_of(tiny_path)
    assert stage.name == "depth"
    stage.open()
    given = capture(*CROPS)
    result = stage(given)
    estimator = DepthEstimator("onnxruntime", tiny_path, threads=1)
    assert len(result.people) == 2
    for crop, depth in zip(CROPS, depths_of(result), strict=True):
        expected = estimator.estimate(given.frame.image, crop, given.people[0].face.intrinsics)
        np.testing.assert_allclose(depth.map, expected.map, atol=1e-6)  # off the sight's tilt and on again
        np.testing.assert_array_equal(depth.mask, expected.mask)
    assert np.abs(np.subtract(*(depth.map for depth in depths_of(result)))).max() > 1e-3
    assert depths_of(given) == ()
    assert result.known == {"face", "depth"}
    assert [replace(person, depth=None) for person in result.people] == list(given.people)
    stage.close()


def test_no_face_gives_no_depth(tiny_path: Path) -> None:
    stage = stage_of(tiny_path)
    stage.open()
    result = stage(capture())
    assert result.people == ()
    assert "depth" in result.known
    stage.close()


def test_a_bad_crop_raises_and_the_stage_goes_on(tiny_path: Path) -> None:
    stage = stage_of(tiny_path)
    stage.open()
    with pytest.raises(InputError):
        stage(capture(Crop(float("nan"), 0.0, 1.0, 0.0)))
    assert len(depths_of(stage(capture(CROPS[0])))) == 1
    stage.close()


def test_open_and_close_belong_around_the_work(tiny_path: Path) -> None:
    stage = stage_of(tiny_path)
    with pytest.raises(ModelError, match="not open"):
        stage(capture(CROPS[0]))
    stage.close()  # harmless where `open` never ran or failed
    stage.open()
    stage.close()
    with pytest.raises(ModelError, match="not open"):
        stage(capture(CROPS[0]))


def test_a_model_that_is_missing_stops_at_open(tmp_path: Path) -> None:
    stage = stage_of(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        stage.open()
    stage.close()


def test_maps_are_shrunk_to_the_side_asked_for(tiny_path: Path) -> None:
    stage = stage_of(tiny_path, side=8)
    stage.open()
    assert [depth.map.shape for depth in depths_of(stage(capture(*CROPS)))] == [(8, 8)] * 2
    stage.close()


def test_maps_are_enlarged_where_more_is_asked_for(tiny_path: Path) -> None:
    stage = stage_of(tiny_path, side=64)
    stage.open()
    assert depths_of(stage(capture(CROPS[0])))[0].map.shape == (64, 64)
    stage.close()


def test_a_shrunk_plane_is_the_same_plane() -> None:
    """Values are read at the smaller map's pixel centres."""
    axis = (2 * np.arange(48, dtype=np.float32) + 1) / 48 - 1
    plane = 0.3 * axis[None, :] - 0.2 * axis[:, None]
    small = resized_depth(Depth(plane, np.ones_like(plane), np.full_like(plane, 0.5)), 32)
    axis = (2 * np.arange(32, dtype=np.float32) + 1) / 32 - 1
    np.testing.assert_allclose(small.map, 0.3 * axis[None, :] - 0.2 * axis[:, None], atol=2e-3)
    assert small.mask.min() == 1
    assert small.confidence is not None
    assert small.confidence.shape == (32, 32)
    assert small.normal is None
