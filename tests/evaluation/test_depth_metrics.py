"""Metrics against values known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import InputError
from stream.evaluation.metrics import (
    depth_l1,
    mask_iou,
    mean,
    normal_degrees,
    normals_from_depth,
    smooth_inside,
)

SIZE = 32
EVERYWHERE = np.ones((1, SIZE, SIZE), bool)


def ramp(slope_x: float, slope_y: float) -> np.ndarray:
    axis = (2 * np.arange(SIZE) + 1) / SIZE - 1
    return (slope_x * axis[None, :] + slope_y * axis[:, None])[None].astype(np.float32)


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_normals_of_a_plane(slope_x, slope_y):
    normals = normals_from_depth(ramp(slope_x, slope_y))
    expected = np.array([slope_x, slope_y, -1]) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    np.testing.assert_allclose(normals, np.broadcast_to(expected, normals.shape), atol=1e-5)


@given(st.floats(-80, 80))
def test_degrees_between_a_tilted_and_a_flat_plane_are_the_tilt(tilt):
    flat = np.broadcast_to(np.array([0, 0, -127], np.int8), (1, SIZE, SIZE, 3))
    tilted = ramp(np.tan(np.radians(tilt)), 0)
    assert normal_degrees(tilted, flat, ramp(0, 0), EVERYWHERE)[0] == pytest.approx(abs(tilt), abs=1e-2)


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
    with pytest.raises(InputError, match="Normals"):
        normal_degrees(ramp(0, 0), np.zeros((1, SIZE, SIZE)), ramp(0, 0), EVERYWHERE)
