import math
from typing import Any

import cv2
import numpy as np
import pytest
from face.face_helpers import landmarks_of, pose_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import FaceError
from stream.face.crop import crop_from_anchors, crop_from_landmarks, crop_image, paste_crop
from stream.geometry import crop_from_image, image_from_crop, transform_points
from stream.types import Array, Crop

quick = settings(deadline=None, derandomize=True, max_examples=40)


def ramps(width: int, height: int) -> Array:
    """(H, W, 2) float32 image whose values are its own pixel coordinates."""
    return np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)


def pixel_places(crop: Crop, size: int) -> Array:
    """(S, S, 2) image coordinates of a crop picture's pixel centres, from the definition of a crop."""
    unit = (2 * np.arange(size) + 1) / size - 1
    u, v = np.meshgrid(unit * crop.half, unit * crop.half)
    c, s = math.cos(crop.angle), math.sin(crop.angle)
    return np.dstack([crop.x + c * u - s * v, crop.y + s * u + c * v])


@pytest.mark.parametrize(
    ("crop", "size"),
    [
        (Crop(300.3, 200.7, 40, 0.3), 256),  # enlarged 3.2 times
        (Crop(300.3, 200.7, 40, 0.0), 64),
        (Crop(400.25, 333.5, 100, -0.4), 128),
        (Crop(400.2, 333.1, 128, 0.5), 128),  # shrink of exactly 2
        (Crop(430.3, 350.2, 200, 0.4), 100),  # 4
        (Crop(450.3, 349.1, 300, -0.2), 128),  # 4.7
        (Crop(650.0, 349.1, 310, 0.0), 128),  # 4.8, reaches over the border
        (Crop(440.1, 330.0, 300, 0.7), 16),  # 37.5
    ],
)
def test_a_ramp_is_sampled_where_the_crop_says(crop: Crop, size: int) -> None:
    width, height = 901, 700
    places = pixel_places(crop, size)
    reach = 2 * crop.half / size + 2
    inside = ((places > reach) & (places < np.array([width, height]) - 1 - reach)).all(axis=2)
    error = (crop_image(ramps(width, height), crop, size) - places)[inside] * size / (2 * crop.half)
    assert inside.mean() > 0.2
    # In crop pixels: OpenCV samples at 1/32 pixel steps, and area averages see pixels as little steps.
    coarse = max(1.0, size / (2 * crop.half))
    assert np.abs(error).max() < 0.03 * coarse
    assert np.abs(error.mean(axis=0)).max() < 0.016 * coarse


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_fine_checkerboard_shrinks_to_grey(angle: float) -> None:
    board = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    picture = crop_image(board, Crop(399.5, 399.5, 250, angle), 100)
    assert np.abs(picture.astype(float) - 127.5).max() < 6  # nearest or bilinear sampling gives 0 and 255


def test_shrinking_agrees_with_an_exact_area_average() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (600, 600)).astype(np.float32), (0, 0), 6)
    image = (image - image.mean()) / image.std() * 50 + 128
    exact = image.reshape(100, 6, 100, 6).mean(axis=(1, 3))
    picture = crop_image(image, Crop(299.5, 299.5, 300, 0.0), 100)
    assert np.abs(picture - exact).mean() < 2.0  # of a contrast of 50
    assert np.corrcoef(picture.ravel(), exact.ravel())[0, 1] > 0.998


def test_cutting_again_with_the_whole_crop_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    once = crop_image(image, Crop(150, 140, 80, 0.2), 96)
    twice = crop_image(once, Crop(47.5, 47.5, 48, 0.0), 96)
    np.testing.assert_array_equal(twice, once)


@quick
@given(
    x=st.floats(140, 160), y=st.floats(140, 160), half=st.floats(60, 90), angle=st.floats(-math.pi, math.pi)
)
def test_pasting_back_reproduces_a_smooth_image(x: float, y: float, half: float, angle: float) -> None:
    v, u = np.indices((300, 300), dtype=np.float32)
    image = 100 + 40 * np.sin(u / 25) + 40 * np.cos(v / 30)
    crop = Crop(x, y, half, angle)
    back = paste_crop(crop_image(image, crop, 160), crop, 300, 300)
    whole = paste_crop(np.ones((160, 160), np.float32), crop, 300, 300) > 0.9999
    assert whole.sum() > 3.5 * half**2
    assert np.abs(back - image)[whole].max() < 1.0


def test_outside_the_crop_the_canvas_is_the_border() -> None:
    back = paste_crop(np.ones((32, 32), np.float32), Crop(50, 50, 10, 0.0), 120, 100, border=np.nan)
    assert back.shape == (100, 120)
    assert np.isnan(back[0, 0])
    assert back[50, 50] == 1


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_type_and_size_are_kept_at_any_place(channels: tuple[int, ...], dtype: type) -> None:
    image: Any = np.full((40, 51, *channels), 7, dtype)
    for crop in (
        Crop(-300, 900, 20, 1.0),
        Crop(25, 20, 4000, 0.1),
        Crop(25, 20, 0.5, 3.0),
        Crop(0, 0, 60, 0),
    ):
        picture = crop_image(image, crop, 16)
        assert picture.dtype == dtype
        assert picture.shape[:2] == (16, 16)
        np.testing.assert_allclose(picture, 7, rtol=1e-6)  # border pixels are repeated


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_the_smallest_images_can_be_cut(size: tuple[int, int]) -> None:
    picture = crop_image(np.full((*size, 3), 9, np.uint8), Crop(0, 0, 100, 0.2), 24)
    np.testing.assert_array_equal(picture, 9)


def test_a_frontal_face_gets_the_ffhq_square() -> None:
    # By hand: eyes 100 apart, mouth 110 below; half = 0.92 * max(200, 198); centre 11 below the eyes.
    crop = crop_from_anchors(np.array([100, 200]), np.array([200, 200]), np.array([150, 310]))
    assert (crop.x, crop.y) == pytest.approx((150, 211))
    assert crop.half == pytest.approx(184)
    assert crop.angle == pytest.approx(0)


@quick
@given(
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 20),
    shift=st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)),
)
def test_the_crop_moves_turns_and_grows_with_the_face(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    landmarks = landmarks_of(pose_matrix(20, 10, 0, (0, 0, 600))).astype(np.float64)
    plain = crop_from_landmarks(landmarks)
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    move = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    moved = crop_from_landmarks(transform_points(move, landmarks[:, :2]))
    expected = move @ np.vstack([image_from_crop(plain, 8), [0, 0, 1]])
    np.testing.assert_allclose(image_from_crop(moved, 8), expected, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(0, 0, 0), (40, 0, 0), (0, 30, 0), (0, -30, 90), (20, 10, 180)]
)
def test_the_whole_face_lies_in_its_crop(yaw: float, pitch: float, roll: float) -> None:
    landmarks = landmarks_of(pose_matrix(yaw, pitch, roll, (30, -20, 600)))
    inside = transform_points(crop_from_image(crop_from_landmarks(landmarks), 2), landmarks[:, :2]) - 0.5
    assert np.abs(inside).max() < 1.0
    upright = inside[152] - inside[10]  # forehead to chin points down the crop
    assert upright[1] > 0.8 * np.hypot(*upright)


@pytest.mark.parametrize(
    "points",
    [
        ([5, 5], [5, 5], [5, 5]),
        ([np.nan, 0], [10, 0], [5, 10]),
        ([0, 0], [np.inf, 0], [5, 10]),
        ([0, 0], [0.1, 0], [0.05, 0.1]),
    ],
)
def test_points_that_make_no_face_are_refused(points: tuple[list[float], ...]) -> None:
    with pytest.raises(FaceError, match="too small"):
        crop_from_anchors(*(np.array(point, dtype=float) for point in points))
