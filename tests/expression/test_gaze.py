"""Gaze from the irises."""

import numpy as np
import pytest
from expression.expression_helpers import codes, value

from stream.expression.gaze import (
    FULL_PITCH,
    FULL_YAW,
    IRIS_RADIUS_MM,
    eye_opening,
    gaze_angles,
    look_coefficients,
)
from stream.face.head_model import head_model


def irises_moved(x: float, y: float) -> np.ndarray:
    moved = np.zeros((3, 478), np.float32)
    moved[0, 468:], moved[1, 468:] = x, y
    return moved


@pytest.mark.parametrize(("yaw", "pitch"), [(0.3, 0.1), (-0.4, -0.2)])
def test_irises_tell_the_turn_of_the_eyes(yaw: float, pitch: float) -> None:
    moved = irises_moved(-IRIS_RADIUS_MM * np.sin(yaw), IRIS_RADIUS_MM * np.sin(pitch))
    assert gaze_angles(moved) == pytest.approx((yaw, pitch), abs=1e-5)


def test_a_movement_of_the_whole_face_is_no_gaze_and_far_irises_are_bounded() -> None:
    assert gaze_angles(np.full((3, 478), 4.0, np.float32)) == (0, 0)
    assert np.isfinite(gaze_angles(irises_moved(1e4, -1e4))).all()


def test_looking_to_the_images_left_is_inwards_for_the_left_eye() -> None:
    looks = look_coefficients((FULL_YAW, -FULL_PITCH / 2))
    expected = codes(eyeLookInLeft=1, eyeLookOutRight=1, eyeLookUpLeft=0.5, eyeLookUpRight=0.5)
    np.testing.assert_allclose(looks, expected, atol=1e-6)
    assert value(look_coefficients((-9.0, 0.0)), "eyeLookOutLeft") == 1.0


def test_an_eye_is_open_by_the_distance_of_its_lids() -> None:
    neutral = head_model().astype(np.float32)
    moved = np.zeros((3, 478), np.float32)
    assert eye_opening(neutral, moved) == pytest.approx(1.0)
    for upper, lower in ((159, 145), (386, 374)):
        moved[1, upper] = neutral[lower, 1] - neutral[upper, 1]
    assert eye_opening(neutral, moved) == pytest.approx(0.0, abs=1e-5)
