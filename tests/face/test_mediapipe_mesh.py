from collections.abc import Iterator

import av
import cv2
import numpy as np
import pytest
from face.face_helpers import astronaut, astronaut_at, frame, shared
from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList

from stream.errors import InputError
from stream.face.mediapipe_mesh import (
    MAX_SIDE,
    MediaPipeTracker,
    _process,
    _read_landmarks,
    open_mesh,
    shrink,
)
from stream.face.search import PAUSE
from stream.types import Array


@pytest.fixture
def tracker() -> Iterator[MediaPipeTracker]:
    opened = MediaPipeTracker()
    yield opened
    opened.close()


def test_a_photographed_face_is_where_it_is(tracker: MediaPipeTracker) -> None:
    (landmarks,) = tracker.detect(frame(astronaut()))
    assert landmarks.shape == (478, 3)
    assert landmarks.dtype == np.float32
    # Read off the photo by eye: both pupils and the mouth's middle.
    right_pupil, left_pupil = landmarks[468], landmarks[473]
    assert np.hypot(*(right_pupil[:2] - [203.3, 101.2])) < 2
    assert np.hypot(*(left_pupil[:2] - [246.5, 103.2])) < 2
    assert np.hypot(*(landmarks[[13, 14], :2].mean(axis=0) - [223, 146])) < 3
    assert landmarks[1, 2] < landmarks[[234, 454], 2].min() - 20  # the nose is nearer than the temples


def test_landmarks_are_in_pixel_centres() -> None:
    """Doubling an image by repeating pixels takes a pixel centre p to 2 p + 0.5."""
    once, twice = MediaPipeTracker(), MediaPipeTracker()
    image = astronaut()
    for _ in range(3):  # until the region of interest has settled
        (small,) = once.detect(frame(image))
        (large,) = twice.detect(frame(np.kron(image, np.ones((2, 2, 1), np.uint8))))
    shift = (large[:, :2] - (2 * small[:, :2] + 0.5)).mean(axis=0)
    assert np.abs(shift).max() < 0.3  # mixing up corners and centres makes it 0.5
    np.testing.assert_allclose(np.ptp(large[:, 2]), 2 * np.ptp(small[:, 2]), rtol=0.05)
    once.close()
    twice.close()


def test_a_mirrored_photo_gives_mirrored_landmarks(tracker: MediaPipeTracker) -> None:
    image = astronaut()
    mirror = MediaPipeTracker()
    for _ in range(3):
        (plain,) = tracker.detect(frame(image))
        (mirrored,) = mirror.detect(frame(np.ascontiguousarray(image[:, ::-1])))
    mirror.close()
    # Points on the midline: crown, nose, lips, chin.
    midline = [10, 168, 6, 197, 1, 2, 0, 17, 152]
    across = 511 - mirrored[midline, 0] - plain[midline, 0]
    assert abs(across.mean()) < 0.3  # twice the bias in x
    assert np.abs(mirrored[midline, 1] - plain[midline, 1]).max() < 2.5


def test_a_lost_face_is_found_within_200_ms_of_its_return(tracker: MediaPipeTracker) -> None:
    shown = astronaut_at(180, 200)
    back = astronaut_at(470, 260, scale=1.3)
    blank = np.full((480, 640, 3), 128, np.uint8)
    found = [bool(tracker.detect(frame(image))) for image in [shown] * 10 + [blank] * 15 + [back] * 10]
    assert all(found[:10])
    assert not any(found[11:25])
    assert all(found[25 + 6 :])  # 6 frames at 30 fps are 200 ms
    (landmarks,) = tracker.detect(frame(back))
    assert np.hypot(*(landmarks[1, :2] - [470, 260])) < 5


def test_a_real_face_is_found_within_200_ms_of_a_cut(tracker: MediaPipeTracker) -> None:
    previous, cut, first_seen = None, None, None
    with av.open(str(shared("data/videos/noface_face.mov"))) as video:
        for index, picture in enumerate(video.decode(video=0)):
            image = picture.to_ndarray(format="rgb24")
            if previous is not None and cut is None and np.abs(image.astype(int) - previous).mean() > 50:
                cut = picture.time
            previous = image
            if tracker.detect(frame(image, index=index)) and first_seen is None:
                first_seen = picture.time
    assert cut is not None
    assert first_seen is not None
    assert -1e-6 <= first_seen - cut <= 0.2


def test_several_faces_are_found_up_to_the_limit() -> None:
    image = astronaut_at(480, 250, background=astronaut_at(160, 250))
    for limit, count in ((1, 1), (2, 2), (3, 2)):
        tracker = MediaPipeTracker(limit)
        faces = [tracker.detect(frame(image)) for _ in range(3)][-1]
        assert len(faces) == count
        tracker.close()


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (16, 16), (17, 13), (3, 4000), (4000, 3), (481, 641), (6000, 8000)]
)
def test_any_size_without_a_face_gives_none(size: tuple[int, int], tracker: MediaPipeTracker) -> None:
    assert tracker.detect(frame(np.full((*size, 3), 90, np.uint8))) == []


def test_noise_is_no_face(tracker: MediaPipeTracker) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert tracker.detect(frame(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8))) == []


@pytest.mark.parametrize("size", [(480, 641), (481, 640), (333, 477)])
def test_odd_sizes_and_strided_views_work(size: tuple[int, int], tracker: MediaPipeTracker) -> None:
    image = astronaut_at(240, 160, width=size[1], height=size[0])
    assert len(tracker.detect(frame(image))) == 1
    view = np.dstack([image, image])[:, :, :3]
    assert not view.flags["C_CONTIGUOUS"]
    assert len(tracker.detect(frame(view))) == 1


def test_a_huge_image_gives_landmarks_in_its_own_pixels(tracker: MediaPipeTracker) -> None:
    huge = cv2.resize(astronaut(), (6000, 6000), interpolation=cv2.INTER_LINEAR)
    (landmarks,) = tracker.detect(frame(huge))
    small = MediaPipeTracker()
    (expected,) = small.detect(frame(astronaut()))
    small.close()
    scale = 6000 / 512
    error = landmarks[:, :2] + 0.5 - (expected[:, :2] + 0.5) * scale
    assert np.hypot(*error.T).mean() < 1.5 * scale


def test_the_frame_size_may_change_from_one_to_the_next(tracker: MediaPipeTracker) -> None:
    image = astronaut()
    for size in (512, 300, 1024, 200):
        (landmarks,) = tracker.detect(frame(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)))
        nose = landmarks[4, :2] * 512 / size
        assert np.hypot(*(nose - [223.4, 125.5])) < 4


def test_shrinking_keeps_the_aspect_and_leaves_small_images_alone() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    assert shrink(image) is image
    assert shrink(np.zeros((6000, 8000, 3), np.uint8)).shape == (960, MAX_SIDE, 3)
    assert shrink(np.zeros((1, 8000, 3), np.uint8)).shape == (1, MAX_SIDE, 3)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_what_is_no_picture_is_refused(image: Array, tracker: MediaPipeTracker) -> None:
    with pytest.raises(InputError):
        tracker.detect(frame(image))


@pytest.mark.parametrize("name", ["single_face.mp4", "carphone_pristine.mp4", "WolfgangLanger_Pexels.mp4"])
def test_people_are_followed_without_a_gap(name: str, tracker: MediaPipeTracker) -> None:
    with av.open(str(shared(f"data/videos/{name}"))) as video:
        for index, picture in enumerate(video.decode(video=0)):
            faces = tracker.detect(frame(picture.to_ndarray(format="rgb24"), index=index))
            assert len(faces) == 1
            if index == 150:
                break


def test_a_face_that_comes_late_is_found_within_a_pause_of_the_search(tracker: MediaPipeTracker) -> None:
    empty = np.full((120, 160, 3), 128, np.uint8)
    for number in range(90):
        assert tracker.detect(frame(empty, number / 30)) == []
    found = [number / 30 for number in range(90, 110) if tracker.detect(frame(astronaut(), number / 30))]
    assert found[0] - 3.0 <= PAUSE + 1 / 30
    assert len(found) == 110 - round(found[0] * 30)  # and followed at every frame from then on


def test_landmarks_are_those_of_mediapipes_own_way(tracker: MediaPipeTracker) -> None:
    own = open_mesh(1, static=False)
    for _ in range(3):
        (theirs,) = own.process(astronaut()).multi_face_landmarks
        (message,) = _process(tracker._mesh, astronaut())
    own.close()
    expected = np.array([(p.x, p.y, p.z) for p in theirs.landmark], np.float32)
    np.testing.assert_array_equal(_read_landmarks(message), expected)
    assert _process(tracker._mesh, np.zeros((64, 64, 3), np.uint8)) == []


def test_landmarks_with_other_fields_are_read_one_by_one() -> None:
    landmarks = [NormalizedLandmark(x=0.25, y=0.5, z=-1.0) for _ in range(478)]
    landmarks[7] = NormalizedLandmark(x=0.125, visibility=1.0)
    points = _read_landmarks(NormalizedLandmarkList(landmark=landmarks).SerializeToString())
    assert points.shape == (478, 3)
    np.testing.assert_array_equal(points[6], [0.25, 0.5, -1])
    np.testing.assert_array_equal(points[7], [0.125, 0, 0])
