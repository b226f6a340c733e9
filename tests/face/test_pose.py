import numpy as np
import pytest
from face.face_helpers import angle_between, landmarks_of, pose_matrix, shared
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import FaceError
from stream.face.head_model import head_model
from stream.face.pose import RIGID_SPREAD_MM, euler_angles, solve_pose
from stream.geometry import intrinsics_from_fov
from stream.types import Array

quick = settings(deadline=None, derandomize=True, max_examples=80)
CAMERA = intrinsics_from_fov(640, 480)
turns = {"yaw": st.floats(-75, 75), "pitch": st.floats(-50, 50), "roll": st.floats(-180, 180)}


@quick
@given(**turns, distance=st.floats(250, 20000), fov=st.floats(15, 120), across=st.floats(-0.3, 0.3))
def test_a_known_pose_is_recovered(
    yaw: float, pitch: float, roll: float, distance: float, fov: float, across: float
) -> None:
    camera = intrinsics_from_fov(1280, 720, fov)
    truth = pose_matrix(yaw, pitch, roll, (across * distance, -0.5 * across * distance, distance))
    found = solve_pose(landmarks_of(truth, camera).astype(np.float64), camera)
    assert found.dtype == np.float32
    assert angle_between(truth[:3, :3], found[:3, :3]) < 0.05
    np.testing.assert_allclose(found[:3, 3], truth[:3, 3], rtol=2e-3, atol=1e-3 * distance)


@quick
@given(**turns, seed=st.integers(0, 1000), distance=st.floats(400, 900))
def test_landmark_noise_moves_the_pose_little(
    yaw: float, pitch: float, roll: float, seed: int, distance: float
) -> None:
    truth = pose_matrix(yaw, pitch, roll, (40, -30, distance))
    landmarks = landmarks_of(truth)
    noise = np.random.default_rng(seed).normal(0, 0.3, landmarks.shape).astype(np.float32)
    found = solve_pose(landmarks + noise, CAMERA)
    assert angle_between(truth[:3, :3], found[:3, :3]) < 2.0
    assert abs(found[2, 3] / distance - 1) < 0.03


@quick
@given(yaw=st.floats(-60, 60), pitch=st.floats(-40, 40), off=st.floats(-25, 25))
def test_a_guess_leads_to_the_same_pose(yaw: float, pitch: float, off: float) -> None:
    landmarks = landmarks_of(pose_matrix(yaw, pitch, 5, (0, 0, 600)))
    alone = solve_pose(landmarks, CAMERA)
    guess = pose_matrix(yaw + off, pitch - off, 5 + off, (20, 20, 500))
    np.testing.assert_allclose(solve_pose(landmarks, CAMERA, guess), alone, atol=2e-2)


@pytest.mark.parametrize(
    "guess",
    [
        pose_matrix(180, 0, 0, (0, 0, 600)),  # from behind
        pose_matrix(0, 0, 180, (0, 0, 600)),
        pose_matrix(0, 0, 0, (0, 0, -600)),
        np.full((4, 4), np.nan),
        np.zeros((4, 4)),
    ],
)
def test_a_bad_guess_does_no_harm(guess: Array) -> None:
    truth = pose_matrix(25, -10, 8, (30, 20, 600))
    found = solve_pose(landmarks_of(truth), CAMERA, guess)
    assert angle_between(truth[:3, :3], found[:3, :3]) < 0.05


@pytest.mark.parametrize("ipd_mm", [50.0, 63.0, 70.0])
def test_the_inter_pupil_distance_scales_distances_and_no_angles(ipd_mm: float) -> None:
    truth = pose_matrix(20, 10, 0, (50, 0, 600))
    found = solve_pose(landmarks_of(truth), CAMERA, ipd_mm=ipd_mm)
    np.testing.assert_allclose(found[:3, 3], truth[:3, 3] * ipd_mm / 63, atol=0.1)
    assert angle_between(truth[:3, :3], found[:3, :3]) < 0.05


def test_a_mouth_that_opens_leaves_the_pose_alone() -> None:
    truth = pose_matrix(10, 0, 0, (0, 0, 600))
    landmarks = landmarks_of(truth)
    lower_face = head_model()[:, 1] > 60
    assert lower_face.sum() > 80
    moved = landmarks.copy()
    moved[lower_face, 1] += 25
    np.testing.assert_array_equal(solve_pose(moved, CAMERA), solve_pose(landmarks, CAMERA))


def test_the_points_are_spread_over_the_face_and_both_halves_weigh_the_same() -> None:
    points = head_model()[list(RIGID_SPREAD_MM)]
    assert np.ptp(points[:, 0]) > 100
    assert np.ptp(points[:, 2]) > 60
    weights = 1 / np.array(list(RIGID_SPREAD_MM.values()))
    assert abs(np.average(points[:, 0], weights=weights)) < 1.0


def test_a_head_seen_from_behind_is_no_face() -> None:
    with pytest.raises(FaceError, match="face the camera"):
        solve_pose(landmarks_of(pose_matrix(180, 0, 0, (0, 0, 600))), CAMERA)


def test_a_mirrored_or_scrambled_face_is_no_face() -> None:
    landmarks = landmarks_of(pose_matrix(0, 0, 0, (0, 0, 600)))
    with pytest.raises(FaceError, match="do not fit"):
        solve_pose(np.random.default_rng(0).permutation(landmarks), CAMERA)
    mirrored = landmarks.copy()
    mirrored[:, 0] = 639 - mirrored[:, 0]
    with pytest.raises(FaceError, match="do not fit"):
        solve_pose(mirrored, CAMERA)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((478, 3), np.float32),
        np.full((478, 3), np.nan, np.float32),
        np.full((478, 3), np.inf, np.float32),
        np.zeros((0, 3), np.float32),
        np.zeros((468, 3), np.float32),
        np.tile(np.linspace(0, 100, 478, dtype=np.float32)[:, None], (1, 3)),
        np.full((478, 3), 1e30, np.float32),
    ],
)
def test_landmarks_of_nothing_are_refused(landmarks: Array) -> None:
    with pytest.raises(FaceError):
        solve_pose(landmarks, CAMERA)


@quick
@given(yaw=st.floats(-179, 179), pitch=st.floats(-89, 89), roll=st.floats(-179, 179))
def test_euler_angles_rebuild_the_rotation(yaw: float, pitch: float, roll: float) -> None:
    pose = pose_matrix(yaw, pitch, roll, (0, 0, 600))
    rebuilt = pose_matrix(*euler_angles(pose), (0, 0, 600))
    np.testing.assert_allclose(rebuilt, pose, atol=1e-9)


def test_the_signs_of_the_angles() -> None:
    gaze = np.array([0, 0, -1.0])  # out of the face
    assert (pose_matrix(30, 0, 0, (0, 0, 1))[:3, :3] @ gaze)[0] < 0  # to the image's left
    assert (pose_matrix(0, 30, 0, (0, 0, 1))[:3, :3] @ gaze)[1] > 0  # down
    assert (pose_matrix(0, 0, 30, (0, 0, 1))[:3, :3] @ [1, 0, 0])[1] > 0  # clockwise as seen
    assert euler_angles(pose_matrix(30, 20, 10, (0, 0, 1))) == pytest.approx((30, 20, 10))


def test_poses_of_photos_agree_with_another_solver() -> None:
    """FaceLandmarker's matrices: OpenGL axes, fitted by weighted Procrustes on 3D landmarks."""
    labels = np.load(shared("data/faces/labels.npz"), allow_pickle=False)
    # Its camera: 63 degrees vertical field of view; on a square image that is 81.8 along the diagonal.
    camera = intrinsics_from_fov(320, 320, 81.83)
    flip = np.diag([1.0, -1.0, -1.0])
    differences = []
    for landmarks, matrix in zip(labels["landmarks"][4500::3], labels["matrix"][4500::3], strict=True):
        pose = solve_pose(landmarks * 320 - [0.5, 0.5, 0.0], camera)
        other = np.eye(4)
        other[:3, :3] = flip @ (matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))) @ flip
        differences.append(np.subtract(euler_angles(pose), euler_angles(other)))
    yaw, pitch, roll = np.median(np.abs(differences), axis=0)
    assert yaw < 1.0
    assert roll < 0.5
    assert pitch < 5.0  # the two mean heads are not levelled alike
    spread = np.abs(differences - np.median(differences, axis=0))
    assert (np.median(spread, axis=0) < [0.8, 2.5, 0.5]).all()
