from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_file import write_calibration
from face.face_helpers import ASTRONAUT_NOSE, astronaut, astronaut_at, shared
from skimage import data

from stream.errors import ConfigError, FaceError, InputError
from stream.face.camera import CameraSettings
from stream.face.crop import crop_from_landmarks
from stream.face.still import find_face
from stream.geometry import intrinsics_from_fov, project
from stream.types import Array, Intrinsics


@pytest.fixture(scope="module")
def reference() -> Array:
    """Landmarks of the astronaut in the whole photo."""
    return find_face(astronaut()).landmarks


def eye_error(landmarks: Array, expected: Array) -> float:
    """Mean landmark error over the distance between the outer eye corners."""
    span = np.hypot(*(expected[33, :2] - expected[263, :2]))
    return float(np.hypot(*(landmarks[:, :2] - expected[:, :2]).T).mean() / span)


def test_all_parts_of_the_face_belong_together(reference: Array) -> None:
    face = find_face(astronaut())
    assert face.intrinsics == intrinsics_from_fov(512, 512)
    assert face.crop == crop_from_landmarks(face.landmarks)
    assert face.landmarks.shape == (478, 3)
    eyes = project(face.pose[:3, 3][None].astype(float), face.intrinsics)[0]
    assert np.hypot(*(eyes - face.landmarks[[468, 473], :2].mean(axis=0))) < 5
    assert 700 < face.pose[2, 3] < 1400  # the photo was taken with a longer lens
    np.testing.assert_array_equal(face.landmarks, reference)  # nothing is carried over


@pytest.mark.parametrize("scale", [0.4, 1.0, 6.0])
@pytest.mark.parametrize("margin", [0, 20])
def test_a_face_that_fills_the_picture_is_found(margin: int, scale: float, reference: Array) -> None:
    low = reference[:, :2].min(axis=0).astype(int) - margin
    high = reference[:, :2].max(axis=0).astype(int) + margin
    tight = astronaut()[low[1] : high[1], low[0] : high[0]]
    size = np.array([tight.shape[1], tight.shape[0]])
    target = np.round(size * scale).astype(int)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    face = find_face(cv2.resize(tight, tuple(int(side) for side in target), interpolation=method))
    expected = (reference[:, :2] - low + 0.5) * target / size - 0.5
    assert eye_error(face.landmarks, expected) < (0.08 if scale < 1 else 0.04)


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(1600, 1200, 0.4), (4000, 3000, 1.0), (900, 3000, 0.5), (1920, 1080, 0.5)]
)
def test_a_small_face_in_a_large_picture_is_found(
    width: int, height: int, scale: float, reference: Array
) -> None:
    x, y = 0.6 * width, 0.55 * height
    face = find_face(astronaut_at(x, y, width, height, scale))
    expected = (reference[:, :2] - ASTRONAUT_NOSE) * scale + [x, y]
    assert eye_error(face.landmarks, expected) < 0.06


def test_the_largest_face_is_taken() -> None:
    image = astronaut_at(130, 120, 900, 500, 0.7)
    image = astronaut_at(600, 250, 900, 500, 1.6, background=image)
    assert abs(find_face(image).landmarks[1, 0] - 600) < 40


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.full((2, 2000, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8),
        np.ascontiguousarray(data.chelsea()),
        np.ascontiguousarray(data.coffee()),
        np.zeros((6000, 8000, 3), np.uint8),
    ],
    ids=["1x1", "16x16", "2x2000", "noise", "cat", "coffee", "huge"],
)
def test_a_picture_without_a_face_says_so(image: Array) -> None:
    with pytest.raises(FaceError, match="no face in this picture"):
        find_face(image)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((0, 5, 3), np.uint8)])
def test_what_is_no_picture_is_refused(image: Array) -> None:
    with pytest.raises(InputError):
        find_face(image)


def test_settings_reach_the_pose(tmp_path: Path) -> None:
    plain = find_face(astronaut())
    wide = find_face(astronaut(), CameraSettings(fov=90.0))
    assert wide.pose[2, 3] < 0.8 * plain.pose[2, 3]
    large = find_face(astronaut(), CameraSettings(ipd_mm=70.0))
    np.testing.assert_allclose(large.pose[:3, 3], plain.pose[:3, 3] * 70 / 63, rtol=1e-3)
    write_calibration(tmp_path / "camera.yaml", Intrinsics(2000, 2000, 511.5, 511.5, 1024, 1024))
    calibrated = find_face(astronaut(), CameraSettings(calibration=tmp_path / "camera.yaml"))
    assert calibrated.intrinsics == Intrinsics(1000, 1000, 255.5, 255.5, 512, 512)
    with pytest.raises(ConfigError, match="1024x1024"):
        find_face(astronaut()[:300], CameraSettings(calibration=tmp_path / "camera.yaml"))


def test_landmarks_of_photos_agree_with_a_newer_model() -> None:
    labels = np.load(shared("data/faces/labels.npz"), allow_pickle=False)["landmarks"]
    errors = []
    for index in range(4500, 4512):
        photo = cv2.imread(str(shared(f"data/faces/{index:05d}.jpg")))[:, :, ::-1]
        face = find_face(np.ascontiguousarray(photo))
        errors.append(eye_error(face.landmarks, labels[index] * 320 - [0.5, 0.5, 0]))
    assert np.median(errors) < 0.02
    assert max(errors) < 0.05
