"""Grids close and tile, sections have the size asked for, and `clear` frees a mesh from a head exactly."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.data.faces.shapes import (
    CELL_MM,
    clear,
    grid_triangles,
    joined,
    lathe,
    prop_of,
    rotation,
    rounded_section,
    smooth_noise,
    tinted_noise,
)
from stream.types import Array


def area(vertices: Array, triangles: Array) -> float:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_grid_covers_its_square_once() -> None:
    y, x = np.mgrid[0:4, 0:7]
    vertices = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(float)
    assert area(vertices, grid_triangles(4, 7)) == pytest.approx(3 * 6)
    assert len(grid_triangles(4, 7, around=True)) == 2 * 3 * 7


def test_a_lathe_makes_a_sphere_of_the_right_area() -> None:
    angle = np.linspace(0, np.pi, 80)
    vertices, uv, triangles = lathe(np.stack([np.sin(angle), -np.cos(angle)], 1) * 50, 120)
    assert area(vertices, triangles) == pytest.approx(4 * np.pi * 50**2, rel=0.005)
    assert uv.min() == 0
    assert uv.max() == 1


def test_joined_meshes_keep_their_areas() -> None:
    one = lathe(np.array([[0.0, 0], [10, 0], [10, 20], [0, 20]]), 40)
    both = joined([one, one])
    assert area(both[0], both[2]) == pytest.approx(2 * area(one[0], one[2]))


@given(st.floats(1, 30), st.floats(1, 30), st.floats(0.2, 1.0))
def test_a_section_has_its_width_and_height(width: float, height: float, squareness: float) -> None:
    section = rounded_section(width, height, 64, squareness)
    np.testing.assert_allclose(np.ptp(section, axis=0), [width, height], rtol=0.01)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 60), st.floats(-0.6, 0.6), st.integers(0, 10**6))
def test_clear_leaves_exactly_the_gap_before_a_plane(gap: float, turn: float, seed: int) -> None:
    """A plane of vertices 4 mm apart: the nearest vertex ends ``gap`` before it, seen from any side."""
    y, x = np.mgrid[-80:81:4, -80:81:4]
    frame = rotation(0.0, turn, 0.0)
    direction = frame @ [0.0, 0, 1]
    plane = (np.stack([x, y, 0 * x], -1).reshape(-1, 3) @ frame.T).astype(np.float32)
    mesh = (np.random.default_rng(seed).uniform(-40, 40, (30, 3))) @ frame.T
    placed = clear(mesh, plane, gap, direction)
    assert (placed @ direction).max() == pytest.approx(-gap, abs=1e-3)
    np.testing.assert_allclose(placed - placed.mean(0), mesh - mesh.mean(0), atol=1e-9)


def test_clear_leaves_what_is_beside_the_head() -> None:
    head = np.zeros((5, 3), np.float32)
    beside = np.array([[4 * CELL_MM, 0.0, 10.0]])
    np.testing.assert_array_equal(clear(beside, head, 5.0), beside)


def test_noise_is_centred_and_pictures_are_near_white() -> None:
    noise = np.concatenate([smooth_noise(np.random.default_rng(i), 48, 16) for i in range(40)])
    assert abs(noise.mean()) < 0.03
    assert 0.5 < noise.std() < 1.3
    picture = tinted_noise(np.random.default_rng(1), 64, 0.1)
    assert picture.dtype == np.uint8
    assert 195 < picture.mean() < 240


def test_a_prop_has_unit_normals_and_legal_colours() -> None:
    prop = prop_of(lathe(np.array([[0.0, 0], [10, 1], [0, 20]]), 12), 11, np.array([1.7, 0.2, -3.0]))
    assert prop.colour.max() <= 1
    assert prop.colour.min() > 0
    assert prop.vertices.dtype == np.float32
