"""Faces that are turned, or stand on their heads: found as they are, or not at all."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from face.face_helpers import angle_between, astronaut, frame, shared
from skimage import data

from stream.errors import FaceError
from stream.face.mediapipe_mesh import MediaPipeTracker, open_detector
from stream.face.still import find_face
from stream.face.turns import turn_image, turn_landmarks
from stream.face.upright import turned_by
from stream.sources.images import read_image
from stream.types import Array, Face


def turned(image: Array, degrees: float) -> tuple[Array, Array]:
    """The picture turned clockwise about its middle on a grey square, and the (2, 3) matrix that does it."""
    height, width = image.shape[:2]
    side = math.ceil(math.hypot(height, width))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    return cv2.warpAffine(image, matrix, (side, side), borderValue=(90, 90, 90)), matrix


def error(landmarks: Array, expected: Array) -> float:
    """Mean landmark error over the face's size."""
    away = np.hypot(*(landmarks[:, :2] - expected[:, :2]).T).mean()
    return float(away / np.ptp(expected[:, :2], axis=0).max())


@pytest.fixture(scope="module")
def reference() -> Array:
    return read_image(shared("data/cases/reference_face.jpg"))


@pytest.fixture(scope="module")
def upright(reference: Array) -> Face:
    return find_face(turned(reference, 0)[0])


@pytest.mark.parametrize("degrees", [90, 120, 135, 150, 165, 180, 195, 210, 225, 240, 270, 315])
def test_a_turned_picture_has_the_upright_ones_face_turned(
    reference: Array, upright: Face, degrees: int
) -> None:
    image, matrix = turned(reference, degrees)
    face = find_face(image)
    flat = upright.landmarks[:, :2] - turned(reference, 0)[1][:, 2]
    assert error(face.landmarks, flat @ matrix[:, :2].T + matrix[:, 2]) < 0.05
    # The picture turns about the principal point, so the head does about the camera's axis.
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    spin = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert angle_between(face.pose[:3, :3], spin @ upright.pose[:3, :3]) < 5
    np.testing.assert_allclose(face.pose[:3, 3], spin @ upright.pose[:3, 3], rtol=0.05, atol=15)


@pytest.mark.parametrize(("name", "degrees"), [("upside_down.jpg", 180), ("roll_135.jpg", 135)])
def test_the_pictures_of_the_issue(name: str, degrees: int) -> None:
    face = find_face(read_image(shared(f"data/cases/{name}")))
    roll = math.degrees(face.crop.angle) % 360
    assert min(abs(roll - degrees), abs(roll - (360 - degrees))) < 12


@pytest.mark.parametrize("number", range(5))
def test_other_people_upside_down(number: int) -> None:
    image = read_image(shared(f"data/faces/{number:05d}.jpg"))
    height, width = image.shape[:2]
    expected = np.array([width - 1, height - 1]) - find_face(image).landmarks[:, :2]
    assert error(find_face(np.ascontiguousarray(image[::-1, ::-1])).landmarks, expected) < 0.05


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("picture", [data.coffee(), data.rocket(), data.chelsea()])
def test_where_there_is_no_face_none_is_made_up(picture: Array, turn: int) -> None:
    with pytest.raises(FaceError, match="no face"):
        find_face(np.ascontiguousarray(np.rot90(picture, turn)))


def test_the_detector_tells_how_landmarks_are_off() -> None:
    image = astronaut()
    landmarks = find_face(image).landmarks
    middle = landmarks[:, :2].mean(axis=0)
    detector = open_detector(full_range=False)
    for degrees in (0, 90, 180, 270):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        off = landmarks.copy()
        off[:, :2] = (landmarks[:, :2] - middle) @ np.array([[c, -s], [s, c]]) + middle  # anticlockwise
        found = math.degrees(turned_by(detector, image, off) or 0.0)
        assert abs(math.remainder(found - degrees, 360)) < 15
    assert turned_by(detector, np.zeros_like(image), landmarks) is None
    detector.close()


def test_quarter_turns_of_pictures_and_landmarks_agree() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for quarters in range(4):
        picture = turn_image(image, quarters)
        height, width = picture.shape[:2]
        points = np.array([(x, y, 0) for y in range(height) for x in range(width)], np.float32)
        placed = turn_landmarks(points, quarters, 7, 5).astype(int)
        assert np.array_equal(image[placed[:, 1], placed[:, 0]], picture.reshape(-1, 3))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_live_finds_and_follows_a_face_that_is_turned(quarters: int) -> None:
    image = astronaut()
    expected = find_face(image).landmarks
    picture = np.ascontiguousarray(np.rot90(image, -quarters))
    tracker = MediaPipeTracker()
    seen = [tracker.detect(frame(picture, index / 30, index)) for index in range(40)]
    tracker.close()
    assert all(seen[30:])
    for (face,) in filter(None, seen):
        back = turn_landmarks(face, (4 - quarters) % 4, 512, 512)
        assert error(back, expected) < 0.1


def test_live_comes_back_to_who_turns_round_again() -> None:
    image = astronaut()
    over = np.ascontiguousarray(image[::-1, ::-1])
    tracker = MediaPipeTracker()
    found = [
        bool(tracker.detect(frame(over if 30 <= index < 60 else image, index / 30, index)))
        for index in range(90)
    ]
    tracker.close()
    assert all(found[:29])
    assert found[59]
    assert found[89]
