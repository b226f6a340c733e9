import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_file import write_calibration
from face.face_helpers import angle_between, astronaut, astronaut_at, frame, landmarks_of, pose_matrix
from people import faces_of
from pydantic import ValidationError

from stream.errors import BackendError, ConfigError, InputError
from stream.face import stage as module
from stream.face.camera import CameraSettings
from stream.face.crop import crop_from_landmarks
from stream.face.stage import FaceStage
from stream.geometry import intrinsics_from_fov
from stream.types import Array, Capture, Face, Frame, Intrinsics


@pytest.fixture
def stage() -> Iterator[FaceStage]:
    opened = FaceStage()
    opened.open()
    yield opened
    opened.close()


class ScriptedTracker:
    """Gives the landmarks it is told to, frame by frame."""

    def __init__(self, script: list[list[Array]]) -> None:
        self.script = script
        self.closed = False

    def detect(self, frame: Frame) -> list[Array]:
        return self.script[frame.index]

    def close(self) -> None:
        self.closed = True


def scripted(stage: FaceStage, script: list[list[Array]], monkeypatch: pytest.MonkeyPatch) -> ScriptedTracker:
    tracker = ScriptedTracker(script)
    monkeypatch.setattr(module, "open_tracker", lambda name, max_faces: tracker)
    stage.open()
    return tracker


def run(stage: FaceStage, frames: int, size: tuple[int, int] = (640, 480)) -> list[tuple[Face, ...]]:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    return [faces_of(stage(Capture(frame(image, index / 30, index)))) for index in range(frames)]


def test_a_real_face_comes_out_whole(stage: FaceStage) -> None:
    given = Capture(frame(astronaut(), captured=3.0), steps={"source": 0.1})
    capture = stage(given)
    assert given.people == ()
    assert capture.frame is given.frame
    assert capture.steps == given.steps
    (face,) = faces_of(capture)
    assert face.track_id == 0
    assert face.landmarks.shape == (478, 3)
    assert face.landmarks.dtype == np.float32
    assert face.pose.dtype == np.float32
    assert face.crop == crop_from_landmarks(face.landmarks)
    assert face.intrinsics == intrinsics_from_fov(512, 512)
    assert 700 < face.pose[2, 3] < 1400


def test_without_a_face_the_capture_passes_empty(stage: FaceStage) -> None:
    assert stage(Capture(frame(np.zeros((480, 640, 3), np.uint8)))).people == ()


def test_a_face_keeps_its_id_through_a_short_gap_and_not_a_long_one(stage: FaceStage) -> None:
    face, blank = astronaut_at(300, 220), np.full((480, 640, 3), 128, np.uint8)
    ids: list[int | None] = []
    for index, image in enumerate([face] * 5 + [blank] * 9 + [face] * 8 + [blank] * 20 + [face] * 8):
        faces = faces_of(stage(Capture(frame(image, index / 30, index))))
        ids.append(faces[0].track_id if faces else None)
    assert ids[4] == ids[21] == 0
    assert ids[10] is None
    assert ids[-1] == 1


def test_two_real_faces_that_swap_sizes_keep_their_ids() -> None:
    stage = FaceStage(max_faces=2)
    stage.open()
    for index in range(0, 30, 2):
        left, right = 0.8 + index / 60, 1.3 - index / 60
        image = astronaut_at(160, 250, scale=left)
        image = astronaut_at(480, 250, scale=right, background=image)
        faces = faces_of(stage(Capture(frame(image, index / 30, index))))
        assert len(faces) == 2
        places = {face.track_id: face.landmarks[1, 0] for face in faces}
        if index == 0:
            first = places
        assert all(abs(places[key] - first[key]) < 60 for key in first)
        if abs(left - right) > 0.1:
            assert (faces[0].landmarks[1, 0] < 320) == (left > right)
    stage.close()


def test_smoothing_calms_pose_and_crop_and_can_be_switched_off() -> None:
    rng = np.random.default_rng(0)
    base = astronaut_at(300, 220).astype(np.float64)
    images = [np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8) for _ in range(40)]
    jitter = {}
    for smooth in (True, False):
        stage = FaceStage(smooth=smooth)
        stage.open()
        faces = [faces_of(stage(Capture(frame(image, i / 30, i))))[0] for i, image in enumerate(images)][15:]
        stage.close()
        crops = np.array([[face.crop.x, face.crop.y, face.crop.half] for face in faces])
        jitter[smooth] = np.diff([face.pose[2, 3] for face in faces]).std(), np.diff(crops, axis=0).std()
    assert jitter[True][0] < 0.5 * jitter[False][0]
    assert jitter[True][1] < 0.5 * jitter[False][1]


def test_the_pose_follows_a_turning_head(monkeypatch: pytest.MonkeyPatch) -> None:
    poses = [pose_matrix(60 * math.sin(index / 10), 10, 0, (0, 0, 600)) for index in range(60)]
    stage = FaceStage(smooth=False)
    scripted(stage, [[landmarks_of(pose)] for pose in poses], monkeypatch)
    for pose, (face,) in zip(poses, run(stage, 60), strict=True):
        assert angle_between(pose[:3, :3], face.pose[:3, :3]) < 0.05


def test_a_face_that_fits_no_head_is_left_out_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    good = landmarks_of(pose_matrix(0, 0, 0, (0, 0, 600)))
    broken = np.random.default_rng(0).permutation(good)
    flat = np.tile(good[:1], (478, 1))
    stage = FaceStage(smooth=False)
    scripted(stage, [[good], [broken], [good], [flat], [good]], monkeypatch)
    assert [len(faces) for faces in run(stage, 5)] == [1, 0, 1, 0, 1]


def test_a_new_frame_size_gets_a_new_camera_and_fresh_faces(stage: FaceStage) -> None:
    large = astronaut_at(300, 220)
    small = cv2.resize(large, (480, 360), interpolation=cv2.INTER_AREA)
    for index in range(8):
        (before,) = faces_of(stage(Capture(frame(large, index / 30, index))))
    (after,) = faces_of(stage(Capture(frame(small, 8 / 30, 8))))
    assert (after.intrinsics.width, after.intrinsics.height) == (480, 360)
    assert after.track_id != before.track_id
    # The same scene: the same angles and distance, and no slide from the old pixels.
    assert np.hypot(*(after.landmarks[1, :2] - before.landmarks[1, :2] * 0.75)) < 3
    assert angle_between(before.pose[:3, :3], after.pose[:3, :3]) < 4
    assert after.pose[2, 3] == pytest.approx(before.pose[2, 3], rel=0.05)


def test_a_calibration_is_scaled_to_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Intrinsics(1400, 1410, 650, 470, 1280, 960)
    write_calibration(tmp_path / "camera.yaml", camera)
    truth = pose_matrix(20, 5, 0, (30, 10, 700))
    stage = FaceStage(camera=CameraSettings(calibration=tmp_path / "camera.yaml"), smooth=False)
    half = Intrinsics(700, 705, 324.75, 234.75, 640, 480)
    scripted(stage, [[landmarks_of(truth, half)]] * 2, monkeypatch)
    (face,) = run(stage, 1)[0]
    assert face.intrinsics == half
    np.testing.assert_allclose(face.pose, truth, atol=0.2)
    with pytest.raises(ConfigError, match="1280x960"):
        run(stage, 1, size=(640, 360))


def test_the_inter_pupil_distance_and_field_of_view_set_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = intrinsics_from_fov(640, 480, 80.0)
    truth = pose_matrix(0, 0, 0, (0, 0, 500))
    stage = FaceStage(camera=CameraSettings(fov=80.0, ipd_mm=70.0))
    scripted(stage, [[landmarks_of(truth, wide, ipd_mm=70.0)]], monkeypatch)
    (face,) = run(stage, 1)[0]
    assert face.pose[2, 3] == pytest.approx(500, abs=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_faces": 0}, "--max-faces"),
        ({"tracker": "none"}, "face tracker"),
        ({"camera": CameraSettings(calibration=Path("no/such/file.yaml"))}, "Cannot read"),
    ],
)
def test_bad_settings_are_refused_before_anything_starts(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FaceStage(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"fov": 200.0}, {"fov": math.nan}, {"ipd_mm": 5.0}, {"length": 3}])
def test_a_camera_that_cannot_be_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        CameraSettings(**settings)


def test_a_bad_frame_raises_and_the_next_one_works(stage: FaceStage) -> None:
    good = Capture(frame(astronaut()))
    with pytest.raises(InputError):
        stage(replace(good, frame=frame(np.zeros((4, 4), np.uint8))))
    assert len(stage(good).people) == 1


def test_it_must_be_open_and_closes_its_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = FaceStage()
    stage.close()
    with pytest.raises(BackendError, match="open"):
        run(stage, 1)
    tracker = scripted(stage, [[]], monkeypatch)
    assert run(stage, 1) == [()]
    stage.close()
    assert tracker.closed
    with pytest.raises(BackendError, match="open"):
        run(stage, 1)
