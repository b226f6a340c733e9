"""What samples may show: bounds, variety, and gazes that agree with their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.data.faces import sampling
from stream.data.faces.ict import EXPRESSIONS, IDENTITY_MODES
from stream.face.pose import euler_angles

DRAWS = 400


def test_expressions_stay_in_bounds_and_open_the_mouth(face_data: Any) -> None:
    model = face_data[2]
    rng = np.random.default_rng(0)
    fitted = rng.uniform(0, 0.4, EXPRESSIONS)
    drawn = np.stack([sampling.draw_expression(rng, model, fitted) for _ in range(DRAWS)])
    names = list(model.expressions)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    jaw = drawn[:, names.index("jawOpen")]
    assert 0.25 < (jaw > 0.5).mean() < 0.45, "open mouths are frequent, closed ones too"
    assert (drawn[:, names.index("eyeBlink_L")] > 0.4).mean() > 0.05
    assert (drawn[:, names.index("mouthClose")] <= 0.8 * jaw + 1e-9).all()


def test_identities_vary_and_are_bounded() -> None:
    rng = np.random.default_rng(1)
    fitted, others = rng.normal(size=IDENTITY_MODES), rng.normal(size=(2, IDENTITY_MODES))
    drawn = np.stack([sampling.draw_identity(rng, fitted, others) for _ in range(DRAWS)])
    assert np.abs(drawn).max() <= 3
    assert drawn.std(axis=0).min() > 0.3


def test_views_come_in_the_shares_of_the_table() -> None:
    rng = np.random.default_rng(2)
    assert sum(view.share for view in sampling.VIEWS) == pytest.approx(1)
    drawn = [sampling.draw_view(rng) for _ in range(4000)]
    for view in sampling.VIEWS:
        assert drawn.count(view) / len(drawn) == pytest.approx(view.share, abs=0.025)


@pytest.mark.parametrize("view", sampling.VIEWS)
def test_poses_are_turned_as_their_view_says(view: sampling.ViewKind) -> None:
    rng = np.random.default_rng(2)
    cameras = [sampling.draw_camera(rng) for _ in range(DRAWS)]
    poses = [sampling.draw_pose(rng, camera, view) for camera in cameras]
    yaw = np.abs([pose.yaw for pose in poses])
    nearest, farthest = view.yaw or (0, 40)
    assert yaw.min() >= nearest
    assert yaw.max() <= farthest
    assert abs(np.mean([pose.yaw > 0 for pose in poses]) - 0.5) < 0.1
    for pose, camera in zip(poses, cameras, strict=True):
        seen = np.linalg.norm(pose.translation)
        assert seen >= sampling.NEAREST_MM - 1
        assert 15 < camera.fx * 140 / seen < 1200, "pixels across the face"
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(pose.rotation) == pytest.approx(1)


def test_cameras_have_from_12_to_70_degrees() -> None:
    rng = np.random.default_rng(3)
    focal = np.array([sampling.draw_camera(rng).fx for _ in range(DRAWS)])
    degrees = 2 * np.degrees(np.arctan(400 / focal))
    assert 12 <= degrees.min() < 15
    assert 67 < degrees.max() <= 70


def test_turning_left_and_down_points_the_nose_there() -> None:
    nose = np.array([0, 0, -1.0])
    np.testing.assert_allclose(sampling.turn(np.radians(30), 0) @ nose, [-0.5, 0, -np.sqrt(0.75)], atol=1e-9)
    down = sampling.turn(0, np.radians(20)) @ nose
    np.testing.assert_allclose(down, [0, np.sin(np.radians(20)), -np.cos(np.radians(20))], atol=1e-9)


def test_angles_are_those_of_live_capture() -> None:
    for angles in np.random.default_rng(6).uniform(-80, 80, (50, 3)):
        turned = sampling.turn(*np.radians(angles))
        np.testing.assert_allclose(euler_angles(turned), angles, atol=1e-6)


def test_a_pose_tells_the_angles_to_its_line_of_sight() -> None:
    """On the axis a pose's yaw and pitch are the angles of its rotation."""
    rng = np.random.default_rng(7)
    camera = sampling.draw_camera(rng)
    for pose in (sampling.draw_pose(rng, camera, sampling.VIEWS[0]) for _ in range(100)):
        x, y, z = pose.translation
        sight = sampling.turn(np.arctan2(x, z), -np.arctan2(y, np.hypot(x, z)))
        np.testing.assert_allclose(sight @ [0, 0, np.linalg.norm(pose.translation)], pose.translation)
        yaw, pitch, _ = euler_angles(sight.T @ pose.rotation)
        np.testing.assert_allclose([yaw, pitch], [pose.yaw, pose.pitch], atol=1e-6)


def test_a_head_off_axis_faces_the_camera() -> None:
    rng = np.random.default_rng(3)
    camera = sampling.draw_camera(rng)
    poses = [sampling.draw_pose(rng, camera, sampling.VIEWS[0]) for _ in range(200)]
    for pose in poses:
        nose = pose.rotation @ [0, 0, -1.0]
        sight = -pose.translation / np.linalg.norm(pose.translation)
        turned = sampling.turn(np.radians(pose.yaw), np.radians(pose.pitch)) @ [0, 0, -1.0]
        assert nose @ sight == pytest.approx(-turned[2], abs=1e-6)


def test_gaze_moves_the_lids_of_both_eyes_alike(face_data: Any) -> None:
    model = face_data[2]
    names = list(model.expressions)
    right = sampling.gaze_expressions(model, (-0.5, 0.0))
    assert right[names.index("eyeLookOut_L")] == 1, "the left eye is on the image's right"
    assert right[names.index("eyeLookIn_R")] == 1
    down = sampling.gaze_expressions(model, (0.0, 0.2))
    assert down[names.index("eyeLookDown_L")] == down[names.index("eyeLookDown_R")] == 0.5
