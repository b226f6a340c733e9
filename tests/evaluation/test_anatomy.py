"""Mouths and noses of known size."""

from __future__ import annotations

import numpy as np
import pytest

from stream.evaluation.alignment import crop_grid
from stream.evaluation.anatomy import (
    EYES_AND_MOUTH,
    LIPS_INNER,
    LIPS_OUTER,
    NASION_AND_CHIN,
    NOSE_TIP,
    mouth_depth,
    nose_protrusion,
    points_at,
)

SIZE = 128
GRID = crop_grid(SIZE)
UNIT = 100.0


def plane(tilt_x: float, tilt_y: float) -> np.ndarray:
    """A tilted plane seen from afar: mm."""
    z = 600 + tilt_x * GRID[..., 0] * UNIT + tilt_y * GRID[..., 1] * UNIT
    return np.concatenate([GRID * UNIT, z[..., None]], axis=-1)


def lips() -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of an elliptic mouth, and what is inside its inner ring."""
    landmarks = np.zeros((478, 2))
    angle = np.linspace(np.pi, 3 * np.pi, 20, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    landmarks[list(LIPS_INNER)] = ring * [0.25, 0.2] + [0, 0.4]
    landmarks[list(LIPS_OUTER)] = ring * [0.4, 0.35] + [0, 0.4]
    inside = (GRID[..., 0] / 0.25) ** 2 + ((GRID[..., 1] - 0.4) / 0.2) ** 2 < 1
    return landmarks, inside


@pytest.mark.parametrize("depth", [-5.0, 0.0, 12.0, 30.0])
def test_a_hollow_behind_tilted_lips_has_its_own_depth(depth):
    landmarks, inside = lips()
    points = plane(0.4, -0.3)
    points[inside, 2] += depth
    found = mouth_depth(points, inside, ~inside, landmarks)
    assert found == pytest.approx(depth, abs=1e-6)


def test_a_bowl_has_its_mean_depth():
    landmarks, inside = lips()
    points = plane(0.0, 0.0)
    share = (GRID[..., 0] / 0.25) ** 2 + ((GRID[..., 1] - 0.4) / 0.2) ** 2
    points[..., 2] += np.where(inside, 20 * (1 - share), 0)
    # The mean of 1 - r^2 over a disc is a half.
    assert mouth_depth(points, inside, ~inside, landmarks) == pytest.approx(10, rel=0.02)


def test_a_mouth_that_cannot_be_seen_has_no_depth():
    landmarks, inside = lips()
    points = plane(0, 0)
    assert np.isnan(mouth_depth(points, inside & False, ~inside, landmarks))
    assert np.isnan(mouth_depth(points, inside, inside & False, landmarks))
    assert np.isnan(mouth_depth(points, inside, ~inside, landmarks + 5))
    assert np.isnan(mouth_depth(points, inside, ~inside, landmarks * np.nan))


def nose_landmarks() -> np.ndarray:
    landmarks = np.zeros((478, 2))
    landmarks[list(EYES_AND_MOUTH)] = [[-0.4, -0.2], [0.4, -0.2], [-0.25, 0.5], [0.25, 0.5]]
    landmarks[list(NASION_AND_CHIN)] = [[0, -0.8], [0, 0.8]]
    landmarks[NOSE_TIP] = [0, 0.2]
    return landmarks


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.5, -0.2)])
def test_a_nose_on_a_plane_stands_out_by_its_height(tilt):
    points = plane(*tilt)
    normal = np.array([*tilt, -1.0]) / np.sqrt(1 + tilt[0] ** 2 + tilt[1] ** 2)
    tip = np.hypot(GRID[..., 0], GRID[..., 1] - 0.2) < 0.1
    points[tip] += 25 * normal
    landmarks = nose_landmarks()
    ends = points_at(points, np.ones((SIZE, SIZE), bool), landmarks[list(NASION_AND_CHIN)])
    expected = 25 / np.linalg.norm(ends[0] - ends[1])
    # The tip's pixel may be one beside it, and so may lie a little along the plane.
    assert nose_protrusion(points, np.ones((SIZE, SIZE), bool), landmarks) == pytest.approx(
        expected, rel=1e-6
    )
    points[tip] -= 50 * normal
    assert nose_protrusion(points, np.ones((SIZE, SIZE), bool), landmarks) == pytest.approx(
        -expected, rel=1e-6
    )


def test_a_hidden_point_leaves_no_nose():
    usable = np.ones((SIZE, SIZE), bool)
    usable[:20] = False
    assert np.isnan(nose_protrusion(plane(0, 0), usable, nose_landmarks()))


def test_points_are_medians_of_what_is_usable():
    points = plane(0, 0)
    usable = np.ones((SIZE, SIZE), bool)
    row, column = 40, 90
    place = GRID[row, column][None]
    points[row, column, 2] = 1e6
    np.testing.assert_allclose(points_at(points, usable, place)[0, 2], 600)
    usable[row - 1 : row + 2, column - 1 : column + 2] = False
    assert np.isnan(points_at(points, usable, place)).all()
    assert np.isnan(points_at(points, usable, np.array([[1.5, 0.0]]))).all()
