"""Fits take out exactly what they say, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import InputError
from stream.evaluation.alignment import crop_grid, fit_depth, fit_similarity, without_plane

SIZE = 32
GRID = crop_grid(SIZE)
BUMP = np.exp(-4 * (GRID**2).sum(-1))[None]
EVERYWHERE = np.ones(BUMP.shape, bool)
numbers = st.floats(-2, 2)


@given(st.floats(0.2, 4), numbers, numbers, numbers)
def test_scale_offset_and_tilt_are_taken_out_exactly(scale, offset, tilt_x, tilt_y):
    changed = scale * BUMP + offset + GRID @ np.array([tilt_x, tilt_y])
    np.testing.assert_allclose(fit_depth(changed, BUMP, EVERYWHERE, tilt=True), BUMP, atol=1e-9)
    shifted = scale * BUMP + offset
    np.testing.assert_allclose(fit_depth(shifted, BUMP, EVERYWHERE, tilt=False), BUMP, atol=1e-9)


def test_without_tilt_a_tilt_stays():
    tilted = BUMP + GRID @ np.array([0.5, 0.0])
    assert np.abs(fit_depth(tilted, BUMP, EVERYWHERE, tilt=False) - BUMP).mean() > 0.05


def test_shape_is_not_taken_out():
    ripple = 0.1 * np.cos(9 * GRID[..., 0]) * np.cos(9 * GRID[..., 1])
    left = fit_depth(BUMP + ripple, BUMP, EVERYWHERE, tilt=True) - BUMP
    assert np.abs(left).mean() > 0.6 * np.abs(ripple).mean()


def test_relief_is_never_turned_inside_out_and_a_plane_is_the_best_one():
    hollow = fit_depth(-BUMP, BUMP, EVERYWHERE, tilt=True)
    design = np.concatenate([np.ones((SIZE, SIZE, 1)), GRID], axis=-1).reshape(-1, 3)
    best = design @ np.linalg.lstsq(design, BUMP.ravel(), rcond=None)[0]
    np.testing.assert_allclose(hollow[0].ravel(), best, atol=1e-9)
    np.testing.assert_allclose(fit_depth(0 * BUMP, BUMP, EVERYWHERE, tilt=True)[0].ravel(), best, atol=1e-9)


def test_only_pixels_inside_are_fitted_and_too_few_give_nothing():
    inside = EVERYWHERE.copy()
    inside[:, :, SIZE // 2 :] = False
    spoiled = np.where(inside, 2 * BUMP + 1, np.nan)
    fitted = fit_depth(spoiled, BUMP, inside, tilt=True)
    np.testing.assert_allclose(fitted[inside], BUMP[inside], atol=1e-9)
    few = np.zeros_like(EVERYWHERE)
    few[0, 0, :5] = True
    assert np.isnan(fit_depth(BUMP, BUMP, few, tilt=True)).all()
    with pytest.raises(InputError, match="NaN"):
        fit_depth(BUMP * np.nan, BUMP, EVERYWHERE, tilt=True)
    with pytest.raises(InputError, match="one shape"):
        fit_depth(BUMP[0], BUMP, EVERYWHERE, tilt=True)


def test_what_a_plane_and_a_multiple_leave_is_orthogonal_to_them():
    rng = np.random.default_rng(0)
    depth, where = BUMP[0] + rng.normal(0, 0.1, (SIZE, SIZE)), GRID[..., 0] < 0.3
    left = without_plane(depth, where, BUMP[0])
    for column in (np.ones(where.sum()), *GRID[where].T, BUMP[0][where]):
        assert abs(left @ column) < 1e-9
    assert np.abs(without_plane(GRID @ np.array([0.3, -2.0]) + 4, where)).max() < 1e-9
    with pytest.raises(InputError, match="NaN"):
        without_plane(depth * np.nan, where)


@given(st.integers(0, 200), st.floats(0.1, 10))
def test_a_known_similarity_is_recovered(seed, scale):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(20, 3)) * [1.0, 2.0, 0.1 if seed % 2 else 0.0]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    translation = rng.normal(size=3) * 100
    found = fit_similarity(points, scale * points @ rotation.T + translation)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-6)
    np.testing.assert_allclose(found.translation, translation, atol=1e-6)
    np.testing.assert_allclose(found.inverse()(found(points)), points, atol=1e-9)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), "pairs of points"),
        (np.zeros((5, 2)), np.zeros((5, 2)), "pairs of points"),
        (np.zeros((5, 3)), np.zeros((6, 3)), "pairs of points"),
        (np.ones((5, 3)), np.zeros((5, 3)), "coincide"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "NaN"),
    ],
)
def test_points_that_cannot_be_aligned_are_refused(source, target, message):
    with pytest.raises(InputError, match=message):
        fit_similarity(source, target)
