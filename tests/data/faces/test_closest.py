"""Closest places of a mesh: inside triangles, on edges, at corners, and none of a triangle without area."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.closest import closest_on_mesh


def test_they_are_the_closest_of_many_samples() -> None:
    rng = np.random.default_rng(5)
    vertices = rng.normal(size=(9, 3))
    triangles = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], np.int32)
    points = rng.normal(size=(10, 3)) * 2
    for point, corners, weights in zip(points, *closest_on_mesh(vertices, triangles, points), strict=True):
        found = np.linalg.norm(weights @ vertices[corners] - point)
        samples = rng.dirichlet([0.5, 0.5, 0.5], 3000) @ vertices[triangles]
        sampled = np.linalg.norm(samples - point, axis=-1).min()
        assert weights.sum() == pytest.approx(1)
        assert found < sampled + 1e-6


@pytest.mark.parametrize(
    ("point", "place"),
    [
        ((0.5, 0.5, 3.0), (0.5, 0.5, 0.0)),
        ((1.0, -2.0, 1.0), (1.0, 0.0, 0.0)),
        ((3.0, 3.0, 0.0), (1.0, 1.0, 0.0)),
        ((-1.0, -1.0, 0.0), (0.0, 0.0, 0.0)),
        ((5.0, -1.0, 0.0), (2.0, 0.0, 0.0)),
    ],
    ids=["inside", "edge", "long edge", "corner", "another corner"],
)
def test_of_one_triangle(point: tuple[float, ...], place: tuple[float, ...]) -> None:
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0]], np.float32)
    corners, weights = closest_on_mesh(vertices, np.array([[0, 1, 2]], np.int32), np.array([point]))
    np.testing.assert_allclose(weights[0] @ vertices[corners[0]], place, atol=1e-9)
    assert weights.min() >= 0


def test_a_triangle_without_area_is_a_line() -> None:
    vertices = np.array([[0, 0, 0], [2, 0, 0], [4, 0, 0], [1, 0, 0], [1, 0, 0]], np.float32)
    for triangle in ([0, 1, 2], [3, 4, 3]):
        corners, weights = closest_on_mesh(vertices, np.array([triangle], np.int32), np.array([[1.0, 1, 0]]))
        np.testing.assert_allclose(weights[0] @ vertices[corners[0]], [1, 0, 0], atol=1e-9)
