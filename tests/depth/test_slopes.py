"""Normals and slopes of the same surface agree, in perspective and with a turned crop."""

from __future__ import annotations

import numpy as np
import pytest
from exact_slopes import slopes_from_normals
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.depth.slopes import normals_from_slopes, slopes_of
from stream.geometry import image_from_crop
from stream.types import Crop

SIZE = 64
NORMAL = st.floats(-0.7, 0.7)


def a_plane(normal, angle, offset=(0.0, 0.0), fov_scale=500.0):
    """Depth map (1, S, S) of the plane through (0, 0, 600) + offset, by meeting every pixel's ray with it."""
    crop, camera, distance = (
        Crop(320 + offset[0], 240 + offset[1], 90.0, angle),
        (fov_scale, fov_scale, 319.5, 239.5),
        600.0,
    )
    pixels = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).reshape(-1, 2)
    matrix = image_from_crop(crop, SIZE)
    image = pixels @ matrix[:, :2].T + matrix[:, 2]
    rays = np.column_stack([(image - camera[2:]) / camera[0], np.ones(len(image))])
    through = np.array([(crop.x - camera[2]) / camera[0] * distance, 0.0, distance])
    z = (normal @ through) / (rays @ normal)
    unit = crop.half / camera[0] * distance
    arrays = [np.array([v], np.float32) for v in ((crop.x, crop.y, crop.half, crop.angle), camera, distance)]
    return ((z - distance) / unit).reshape(1, SIZE, SIZE), arrays


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-0.7, 0.7),
    st.floats(-0.7, 0.7),
    st.floats(-1.0, 1.0),
    st.floats(-200, 200),
    st.floats(-100, 100),
)
def test_a_planes_slopes_are_its_differences(nx, ny, angle, dx, dy):
    normal = np.array([nx, ny, -1.0]) / np.linalg.norm([nx, ny, 1.0])
    depth, where = a_plane(normal, angle, (dx, dy))
    field = np.broadcast_to(normal, (1, SIZE, SIZE, 3))
    slopes = slopes_from_normals(field, depth, *where)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(slopes[inner], slopes_of(depth)[inner], atol=0.01)
    np.testing.assert_allclose(normals_from_slopes(slopes, depth, *where), field, atol=1e-4)


def test_a_plane_across_the_axis_is_flat():
    depth, where = a_plane(np.array([0.0, 0.0, -1.0]), 0.3)
    assert np.abs(depth).max() == pytest.approx(0, abs=1e-6)
    assert not slopes_from_normals(np.full((1, SIZE, SIZE, 3), [0, 0, -1.0]), depth, *where).any()


def test_no_normal_gives_no_slope():
    depth, where = a_plane(np.array([0.0, 0.0, -1.0]), 0.0)
    assert not slopes_from_normals(np.zeros((1, SIZE, SIZE, 3)), depth, *where).any()
