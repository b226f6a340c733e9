"""Metrics against values known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import InputError
from stream.evaluation.metrics import (
    camera_normals,
    depth_l1,
    mask_iou,
    mean,
    mean_angle,
    normalised_l1,
    rotated_mean_angle,
    scale_invariant_error,
    smooth_inside,
)

SIZE = 32
EVERYWHERE = np.ones((1, SIZE, SIZE), bool)


def ramp(slope_x: float, slope_y: float) -> np.ndarray:
    axis = (2 * np.arange(SIZE) + 1) / SIZE - 1
    return (slope_x * axis[None, :] + slope_y * axis[:, None])[None].astype(np.float32)


@given(st.floats(-80, 80))
def test_degrees_between_a_tilted_and_a_flat_plane_are_the_tilt(tilt):
    flat = np.broadcast_to([0.0, 0.0, -3.0], (1, SIZE, SIZE, 3))
    tilted = np.broadcast_to([np.tan(np.radians(tilt)), 0.0, -1.0], flat.shape)
    assert mean_angle(tilted, flat, EVERYWHERE)[0] == pytest.approx(abs(tilt), abs=1e-6)


def test_l1_is_per_sample_over_what_counts_only():
    truth = np.zeros((2, SIZE, SIZE), np.float32)
    depth = truth + np.array([0.5, -0.25], np.float32)[:, None, None]
    where = np.zeros(truth.shape, bool)
    where[:, 4:9, 3:7] = True
    depth[0, 0, 0] = 100.0
    np.testing.assert_allclose(depth_l1(depth, truth, where), [0.5, 0.25])
    assert np.isnan(depth_l1(depth, truth, np.zeros_like(where))).all()


def test_values_outside_may_be_anything_but_inside_must_be_finite():
    truth = np.zeros((1, SIZE, SIZE), np.float32)
    depth = truth.copy()
    depth[0, 0, 0] = np.nan
    where = EVERYWHERE.copy()
    with pytest.raises(InputError, match="NaN"):
        depth_l1(depth, truth, where)
    where[0, 0, 0] = False
    assert depth_l1(depth, truth, where)[0] == 0


def test_iou_of_shifted_squares():
    mask = np.zeros((1, SIZE, SIZE), np.float32)
    mask[0, 0:10, 0:10] = 0.9
    mask[0, 20:, 20:] = 0.4
    foreground = np.zeros((1, SIZE, SIZE), bool)
    foreground[0, 0:10, 5:15] = True
    assert mask_iou(mask, foreground, EVERYWHERE)[0] == pytest.approx(50 / 150)
    known = EVERYWHERE.copy()
    known[0, :, :5] = False
    assert mask_iou(mask, foreground, known)[0] == pytest.approx(50 / 100)
    assert np.isnan(mask_iou(mask * 0, foreground & False, EVERYWHERE)[0])
    assert np.isnan(mask_iou(mask, foreground, foreground)[0])


def test_edges_and_borders_do_not_count_for_normals():
    truth = np.zeros((1, SIZE, SIZE), np.float32)
    truth[0, :, 16:] = 1.0
    inside = smooth_inside(truth, EVERYWHERE)[0]
    assert not inside[:, 15:17].any()
    assert not inside[0].any()
    assert not inside[:, -1].any()
    assert inside[1:-1, 1:15].all()
    assert inside[1:-1, 17:-1].all()


def test_mean_leaves_out_what_is_absent():
    assert mean(np.array([1.0, np.nan, 3.0])) == 2.0
    assert np.isnan(mean(np.array([np.nan])))


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (2, SIZE, SIZE), (1, SIZE, SIZE, 1)])
def test_shapes_must_agree(shape):
    with pytest.raises(InputError, match="share one shape"):
        depth_l1(np.zeros(shape), ramp(0, 0), EVERYWHERE)


def test_normalised_l1_is_in_shares_of_half_the_true_range():
    truth = ramp(0.5, 0)  # from -0.5 to 0.5 but for half a pixel at each end
    reach = float(truth.max())
    error = normalised_l1(truth + 0.1, truth, EVERYWHERE)
    assert error[0] == pytest.approx(0.1 / reach, rel=1e-5)
    assert np.isnan(normalised_l1(truth, ramp(0, 0), EVERYWHERE)).all()
    assert np.isnan(normalised_l1(truth, truth, EVERYWHERE & False)).all()


@given(st.floats(0.2, 5.0), st.integers(0, 100))
def test_side_ignores_scale_and_is_the_spread_of_the_log(scale, seed):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(500, 700, (1, SIZE, SIZE))
    factor = np.exp(rng.normal(0, 0.02, truth.shape))
    assert scale_invariant_error(scale * truth, truth, EVERYWHERE)[0] == pytest.approx(0, abs=1e-6)
    expected = 100 * np.std(np.log(factor))
    found = scale_invariant_error(scale * factor * truth, truth, EVERYWHERE)[0]
    assert found == pytest.approx(expected, rel=1e-6)


def test_side_refuses_what_has_no_logarithm_and_bounds_what_lies_behind_the_camera():
    truth = np.full((1, SIZE, SIZE), 600.0)
    with pytest.raises(InputError, match="not positive"):
        scale_invariant_error(truth, -truth, EVERYWHERE)
    with pytest.raises(InputError, match="NaN"):
        scale_invariant_error(truth * np.nan, truth, EVERYWHERE)
    behind = truth.copy()
    behind[0, 0, 0] = -5.0
    assert np.isfinite(scale_invariant_error(behind, truth, EVERYWHERE)).all()
    assert np.isnan(scale_invariant_error(truth, truth, EVERYWHERE & False)).all()


@given(st.integers(0, 50))
def test_a_rotation_of_all_normals_is_found_and_taken_out(seed):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(1, SIZE, SIZE, 3))
    axis, angle = rng.normal(size=3), rng.uniform(0.05, 1.0)
    k = axis / np.linalg.norm(axis)
    cross = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    assert mean_angle(normals @ turn.T, normals, EVERYWHERE)[0] > 1
    assert rotated_mean_angle(normals @ turn.T, normals, EVERYWHERE)[0] == pytest.approx(0, abs=1e-4)


def test_a_mirror_image_is_no_rotation():
    normals = np.random.default_rng(0).normal(size=(1, SIZE, SIZE, 3))
    assert rotated_mean_angle(normals * [-1, 1, 1], normals, EVERYWHERE)[0] > 20


def test_angles_leave_out_missing_normals_and_refuse_other_shapes():
    towards = np.broadcast_to([0.0, 0.0, -2.0], (1, SIZE, SIZE, 3))
    half = towards.copy()
    half[:, :, ::2] = 0
    assert mean_angle(half, towards, EVERYWHERE)[0] == 0
    assert np.isnan(mean_angle(half * 0, towards, EVERYWHERE)[0])
    assert np.isnan(rotated_mean_angle(half * 0, towards, EVERYWHERE)[0])
    with pytest.raises(InputError, match="Normals"):
        mean_angle(towards[..., :2], towards, EVERYWHERE)


def test_camera_normals_of_a_sphere_seen_in_perspective():
    crop = np.array([[500.0, 200.0, 90.0, 0.3]])
    camera = np.array([[800.0, 800.0, 320.0, 240.0]])
    distance = np.array([500.0])
    size = 96
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    c, s = np.cos(0.3) * 90, np.sin(0.3) * 90
    rays = np.stack(
        [(500 + c * x - s * y - 320) / 800, (200 + s * x + c * y - 240) / 800, np.ones_like(x)], axis=-1
    )
    centre, radius = np.array([180 / 800, -40 / 800, 1.0]) * 560, 60.0
    # |t ray - centre| = radius
    along, square = rays @ centre, (rays**2).sum(-1)
    t = (along - np.sqrt(np.maximum(along**2 - square * (centre @ centre - radius**2), 0))) / square
    inside = x**2 + y**2 < 0.5
    depth = np.where(inside, (t - 500) / (90 / 800 * 500), 0)[None]
    expected = (t[..., None] * rays - centre) / radius
    found = camera_normals(depth, crop, camera, distance)
    where = smooth_inside(depth, inside[None])
    assert where.sum() > 2000
    assert mean_angle(found, expected[None], where)[0] < 0.3
