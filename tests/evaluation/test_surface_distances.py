"""Distances between surfaces against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import InputError
from stream.evaluation.alignment import crop_grid
from stream.evaluation.surface import (
    POINTS,
    RADIUS_MM,
    backproject,
    crop_unit_mm,
    surface_distances,
    triangle_distance,
)
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.types import Crop, Intrinsics

SIZE = 96
CROP = np.array([[400.0, 200.0, 110.0, 0.25]], np.float32)
CAMERA = np.array([[700.0, 710.0, 320.0, 240.0]], np.float32)
DISTANCE = np.array([620.0], np.float32)
GRID = crop_grid(SIZE)
INSIDE = (GRID**2).sum(-1) < 0.6


def face(depth: np.ndarray) -> np.ndarray:
    return backproject(depth[None], CROP, CAMERA, DISTANCE)[0]


EGG = face(0.8 * GRID[..., 0] ** 2 + 0.5 * GRID[..., 1] ** 2 + 0.1 * np.cos(4 * GRID[..., 0] + GRID[..., 1]))
NOSE = EGG[SIZE // 2, SIZE // 2]


def test_points_project_back_to_their_pixels_and_have_their_depth():
    depth = 0.3 * GRID[..., 0] + 0.1
    points = face(depth)
    fx, fy, cx, cy = map(float, CAMERA[0])
    crop, camera = Crop(*map(float, CROP[0])), Intrinsics(fx, fy, cx, cy, 640, 480)
    matrix = image_from_crop(crop, SIZE)
    for row, column in ((0, 0), (10, 70), (95, 95)):
        x, y, z = points[row, column]
        pixel = matrix @ [column, row, 1]
        np.testing.assert_allclose(
            [x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy], pixel, atol=1e-6
        )
        unit = mm_per_crop_unit(crop, camera, 620.0)
        assert z == pytest.approx(620 + depth[row, column] * unit)
        assert crop_unit_mm(CROP, CAMERA, DISTANCE)[0] == pytest.approx(unit)


def test_a_surface_moved_by_a_similarity_has_no_distance():
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    moved = 1.7 * EGG @ rotation.T + [30, -200, 900]
    distances = surface_distances(moved, EGG, INSIDE, NOSE)
    assert len(distances) == POINTS
    assert distances.max() < 1e-6


def test_distances_are_in_true_millimetres_whatever_the_predictions_scale():
    bumpy = EGG + 0.8 * np.array([0, 0, 1]) * np.cos(12 * GRID[..., :1]) * np.cos(11 * GRID[..., 1:])
    plain = surface_distances(bumpy, EGG, INSIDE, NOSE)
    for scale in (0.01, 50.0):
        np.testing.assert_allclose(surface_distances(scale * bumpy, EGG, INSIDE, NOSE), plain, atol=1e-4)
    # A ripple of amplitude a, product of two cosines, has mean |.| of a (2 / pi)^2, less for the slope.
    assert plain.mean() == pytest.approx(0.8 * (2 / np.pi) ** 2, rel=0.2)


def sphere(radius: float, centre: np.ndarray) -> np.ndarray:
    """Where the rays of the pixels first meet a sphere."""
    rays = face(np.zeros((SIZE, SIZE)))
    rays = rays / rays[..., 2:]
    along, square = rays @ centre, (rays**2).sum(-1)
    t = (along - np.sqrt(np.maximum(along**2 - square * (centre @ centre - radius**2), 0))) / square
    return t[..., None] * rays


def test_a_sphere_that_is_only_shifted_lies_on_itself():
    centre = face(np.zeros((SIZE, SIZE)))[SIZE // 2, SIZE // 2] + [0, 0, 90]
    true, inside = sphere(90.0, centre), (GRID**2).sum(-1) < 0.3
    shifted = sphere(90.0, centre + np.array([3.0, -2.0, 1.0]))
    assert np.linalg.norm(shifted - true, axis=-1)[inside].mean() > 1
    before = surface_distances(shifted, true, inside, true[SIZE // 2, SIZE // 2])
    assert before.mean() < 0.05
    # One of another radius does not: the similarity makes up for it only by pixel.
    other = sphere(70.0, centre)
    assert surface_distances(other, true, inside, true[SIZE // 2, SIZE // 2]).mean() > 3 * before.mean()


def test_only_what_is_near_the_nose_counts():
    far = EGG + np.array([0, 0, 40.0]) * (np.linalg.norm(EGG - NOSE, axis=-1, keepdims=True) > RADIUS_MM)
    assert surface_distances(far, EGG, INSIDE, NOSE).max() < 1e-6
    assert len(surface_distances(EGG, EGG, INSIDE, NOSE + 1000)) == 0
    assert len(surface_distances(EGG, EGG, INSIDE & False, NOSE)) == 0


def test_bad_surfaces_are_refused():
    with pytest.raises(InputError, match="Surfaces"):
        surface_distances(EGG[:-1], EGG, INSIDE, NOSE)
    broken = EGG.copy()
    broken[SIZE // 2, SIZE // 2 + 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        surface_distances(broken, EGG, INSIDE, NOSE)


@given(st.integers(0, 500))
def test_distance_from_a_triangle_is_that_of_its_nearest_point(seed):
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, 3))
    point = rng.normal(size=3) * 2
    s, t = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    s, t = s[s + t <= 1], t[s + t <= 1]
    places = a + s[:, None] * (b - a) + t[:, None] * (c - a)
    brute = np.linalg.norm(places - point, axis=1).min()
    found = triangle_distance(point[None], a[None], b[None], c[None])[0]
    assert found <= brute + 1e-9
    assert found == pytest.approx(brute, abs=0.01)


def test_a_missing_triangle_has_no_distance():
    corner = np.zeros((1, 3))
    assert np.isnan(triangle_distance(corner, corner, corner + np.nan, corner + 1)[0])
