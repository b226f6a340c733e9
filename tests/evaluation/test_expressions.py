"""Performances with a known expression, and the figures over them."""

import numpy as np
import pytest
from people import capture_with, expressions_of
from shared_folder import SHARED

from stream.evaluation.expressions import correlations, mean_errors, perform
from stream.expression.arkit import ARKIT_NAMES
from stream.expression.stage import ExpressionStage
from stream.face.pose import solve_pose
from stream.types import Crop, Face, Frame


def test_correlation_is_told_only_of_what_varies() -> None:
    truth = np.zeros((50, 52), np.float32)
    truth[:, 3] = np.linspace(0, 1, 50)
    truth[:, 4] = np.linspace(0, 0.01, 50)
    truth[:, 5] = truth[::-1, 3]
    found = truth * 0.5
    found[:, 5] = 0.3
    assert correlations(found, truth) == pytest.approx({ARKIT_NAMES[3]: 1.0, ARKIT_NAMES[5]: 0.0})


def test_errors_are_by_name() -> None:
    found = np.zeros((4, 52))
    found[:, 0] = [0.1, -0.1, 0.3, 0.3]
    errors = mean_errors(found, np.zeros((4, 52)))
    assert errors[ARKIT_NAMES[0]] == pytest.approx(0.2)
    assert errors[ARKIT_NAMES[1]] == 0


@pytest.mark.skipif(SHARED is None, reason="the head model's data is not here")
def test_the_stage_follows_a_performance() -> None:
    from stream.data.faces.correspond import stored_correspondence
    from stream.data.faces.ict import load_head_model

    assert SHARED is not None
    model = load_head_model(SHARED / "data" / "ict_facekit.npz")
    points = stored_correspondence(model)
    shown = perform(model, points, seed=50, seconds=6.0)
    again = perform(model, points, seed=50, seconds=6.0)
    np.testing.assert_array_equal(shown.landmarks, again.landmarks)
    stage, pose, found = ExpressionStage(), None, []
    stage.open()
    for landmarks, seconds in zip(shown.landmarks, shown.times.tolist(), strict=True):
        pose = solve_pose(landmarks, shown.intrinsics, pose)
        face = Face(0, landmarks, pose, Crop(0, 0, 1, 0), shown.intrinsics)
        frame = Frame(np.zeros((1, 1, 3), np.uint8), seconds, 0, "test")
        found.append(expressions_of(stage(capture_with(frame, (face,))))[0].coefficients)
    courses = np.stack(found)
    assert np.mean(list(correlations(courses, shown.coefficients).values())) > 0.75
    assert np.mean(list(mean_errors(courses, shown.coefficients).values())) < 0.05
