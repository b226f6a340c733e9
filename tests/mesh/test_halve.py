"""Surfaces with half as many pixels a side."""

from __future__ import annotations

import numpy as np
import pytest
from mesh import mesh_samples

from stream.mesh.build import connect_jump
from stream.mesh.halve import halved
from stream.types import Surface


def dome(size: int) -> Surface:
    depth = mesh_samples.dome(size)
    return Surface(depth.map, depth.mask)


def test_a_smooth_surface_stays_where_it_is() -> None:
    fine, coarse = dome(48), halved(dome(48))
    assert coarse.depth.shape == coarse.alpha.shape == (24, 24)
    assert coarse.depth.dtype == coarse.alpha.dtype == np.float32
    inner = dome(24).depth < 0.25
    # The mean of a paraboloid's four points lies above its value in their middle by 2 * 0.5 / 48^2.
    np.testing.assert_allclose(coarse.depth[inner], dome(24).depth[inner] + 1 / 48**2, atol=1e-6)
    assert (coarse.alpha[inner] == 1).all()
    assert abs(4 * coarse.alpha.sum() - fine.alpha.sum()) < 0.05 * fine.alpha.sum()


def test_a_pixel_is_surface_where_two_of_its_four_are() -> None:
    mask = np.zeros((4, 4), np.float32)
    mask[0, 0] = mask[0, 2] = mask[1, 3] = 1
    mask[2:, 2:] = 0.4  # below the threshold
    depth = np.zeros((4, 4), np.float32)
    depth[2:, :2], mask[2:, :2] = np.nan, 1
    np.testing.assert_array_equal(halved(Surface(depth, mask)).alpha, [[0, 1], [0, 0]])


def test_the_nearer_side_of_a_step_is_taken() -> None:
    step = connect_jump(4) * 1.5
    depth = np.zeros((4, 4), np.float32)
    depth[:, 1::2] = step
    smaller = halved(Surface(depth, np.ones((4, 4), np.float32)))
    np.testing.assert_array_equal(smaller.depth, 0)
    np.testing.assert_array_equal(smaller.alpha, 1)


def test_a_single_near_pixel_leaves_a_hole_rather_than_a_bridge() -> None:
    depth = np.full((2, 2), connect_jump(2) * 2, np.float32)
    depth[0, 0] = 0
    assert halved(Surface(depth, np.ones((2, 2), np.float32))).alpha[0, 0] == 0


@pytest.mark.parametrize("size", [47, 3])
def test_odd_sizes_are_left_as_they_are(size: int) -> None:
    surface = dome(size)
    assert halved(surface) is surface
