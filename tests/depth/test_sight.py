"""The tilt between depth along the line of sight and along the camera's axis, against plain geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.depth.sight import EYE_LINE, line_of_sight, sight_plane, sight_tilt
from stream.face.crop import crop_from_anchors
from stream.geometry import image_from_crop, intrinsics_from_fov, mm_per_crop_unit, transform_points
from stream.types import Crop

SIZE, DISTANCE = 64, 600.0
CAMERA = intrinsics_from_fov(640, 480, 60.0)


def test_a_crop_in_the_middle_has_no_tilt():
    sight = line_of_sight(Crop(CAMERA.cx, CAMERA.cy, 80.0, 0.3), CAMERA)
    np.testing.assert_array_equal(sight, 0)
    np.testing.assert_array_equal(sight_tilt(sight, SIZE), 0)


def test_sight_follows_the_crops_axes():
    right = Crop(CAMERA.cx + CAMERA.fx / 5, CAMERA.cy, 80.0, 0.0)
    np.testing.assert_allclose(line_of_sight(right, CAMERA), [0.2, 0], atol=1e-6)
    turned = Crop(right.x, right.y, right.half, math.pi / 2)  # the crop's x axis points down in the image
    np.testing.assert_allclose(line_of_sight(turned, CAMERA), [0, -0.2], atol=1e-6)


def test_tilt_of_many_is_each_ones_and_zero_on_the_eye_line():
    sights = np.array([[0.1, -0.2], [0.0, 0.3]], np.float32)
    tilts = sight_tilt(sights, SIZE)
    assert tilts.dtype == np.float32
    np.testing.assert_array_equal(tilts[1], sight_tilt(sights[1], SIZE))
    rows = (2 * np.arange(SIZE) + 1) / SIZE - 1
    at_eyes = [np.interp(EYE_LINE, rows, tilts[1][:, column]) for column in (0, 40)]
    np.testing.assert_allclose(at_eyes, 0, atol=1e-6)


@given(st.floats(-0.25, 0.25), st.floats(-0.2, 0.2), st.floats(-0.5, 0.5))
def test_a_plane_across_the_line_of_sight_is_flat_along_it(x, y, roll):
    """Back-project every crop pixel onto that plane: depth along the axis plus the tilt is nearly 0."""
    across = np.array([x, y, 1.0])
    half = 100.0
    crop = Crop(CAMERA.cx + x * CAMERA.fx, CAMERA.cy + y * CAMERA.fy, half, roll)
    up = np.array([-math.sin(roll), math.cos(roll)]) * EYE_LINE * half / CAMERA.fx
    eyes = np.array([x + up[0], y + up[1], 1.0]) * DISTANCE
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1).reshape(-1, 2).astype(float)
    pixels = transform_points(image_from_crop(crop, SIZE), grid)
    rays = np.column_stack([(pixels - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx, np.ones(len(pixels))])
    z = eyes @ across / (rays @ across)
    depth = ((z - DISTANCE) / mm_per_crop_unit(crop, CAMERA, DISTANCE)).reshape(SIZE, SIZE)
    untilted = depth + sight_tilt(line_of_sight(crop, CAMERA), SIZE)
    largest = np.hypot(x, y)
    assert np.abs(untilted).max() <= 0.8 * largest**2 + 1e-5
    if largest > 0.05:
        assert np.abs(untilted).mean() < 0.35 * np.abs(depth).mean()


def test_the_eye_line_is_where_the_crop_puts_an_average_upright_face():
    eye, down = 31.5, 67.0  # mm: half the distance between the eye centres, and down to the mouth
    crop = crop_from_anchors(np.array([-eye, 0.0]), np.array([eye, 0.0]), np.array([0.0, down]))
    assert (0.0 - crop.y) / crop.half == pytest.approx(EYE_LINE, abs=0.01)


def test_the_plane_over_pixels_is_the_same_tilt():
    sight = np.array([0.21, -0.13], np.float32)
    a, b, c = sight_plane(sight, 48)
    row, column = np.mgrid[0:48, 0:48]
    np.testing.assert_allclose(a * column + b * row + c, sight_tilt(sight, 48), atol=1e-6)
