"""Catmull-Clark: the cube of the textbook, borders, planes, and faces in the order promised."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.subdivide import bilinear, catmull_clark

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (size * size, 3) of a flat grid and its quads."""
    index = np.arange(size * size).reshape(size, size)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1).astype(float), quads


def test_a_cube_becomes_what_the_rules_say() -> None:
    matrix, quads = catmull_clark(CUBE_QUADS, 8)
    points = matrix @ CUBE
    assert points.shape == (8 + 12 + 6, 3)
    assert quads.shape == (24, 4)
    np.testing.assert_allclose(np.abs(points[:8]), 5 / 9, err_msg="corners move to (Q + 2 R) / 3")
    np.testing.assert_allclose(np.sort(np.abs(points[8:20]), axis=1), np.tile([0, 0.75, 0.75], (12, 1)))
    np.testing.assert_allclose(np.sort(np.abs(points[20:]), axis=1), np.tile([0, 0, 1], (6, 1)))


@pytest.mark.parametrize("step", [catmull_clark, bilinear])
def test_every_new_point_is_an_average(step: object) -> None:
    matrix, quads = step(CUBE_QUADS, 8)  # type: ignore[operator]
    np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)), 1)
    assert matrix.min() >= 0
    np.testing.assert_array_equal(np.unique(quads), np.arange(matrix.shape[0]))


def test_the_new_quads_turn_as_the_old_ones() -> None:
    def volume(points: np.ndarray, quads: np.ndarray) -> float:
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        return float(np.linalg.det(points[triangles]).sum() / 6)

    matrix, quads = bilinear(CUBE_QUADS, 8)
    assert volume(matrix @ CUBE, quads) == pytest.approx(volume(CUBE, CUBE_QUADS))
    smooth, _ = catmull_clark(CUBE_QUADS, 8)
    assert 0 < volume(smooth @ CUBE, quads) / volume(CUBE, CUBE_QUADS) < 1


def test_quads_come_in_four_rounds_of_the_old_ones() -> None:
    points, old = grid(4)
    matrix, quads = bilinear(old, len(points))
    middles = (matrix @ points)[quads].mean(axis=1).reshape(4, len(old), 3)
    for corner in range(4):
        expected = points[old].mean(axis=1) * 0.5 + points[old[:, corner]] * 0.5
        np.testing.assert_allclose(middles[corner], expected)


def test_a_flat_patch_stays_flat_and_keeps_its_straight_border() -> None:
    points, old = grid(5)
    matrix, quads = catmull_clark(old, len(points))
    new = matrix @ points
    np.testing.assert_allclose(new[:, 2], 0)
    inside = ~np.isin(np.arange(len(points)), [0, 4, 20, 24])
    np.testing.assert_allclose(new[: len(points)][inside], points[inside], atol=1e-12)
    assert new.min() >= 0
    assert new.max() <= 4
    assert len(quads) == 4 * len(old)
