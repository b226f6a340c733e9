"""The square cut around a face. Training and live capture both call this module, so they cannot differ."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stream.errors import FaceError
from stream.geometry import crop_from_image, image_from_crop
from stream.types import Array, Crop

MAX_SIDE = 32766
"""Longest side of an image that OpenCV can sample from."""

RIGHT_EYE = (33, 133, 159, 145)
LEFT_EYE = (263, 362, 386, 374)
"""Corners and lid middles of each eye (the person's right and left) in MediaPipe's order."""

MOUTH_CORNERS = (61, 291)

_ANCHORS = np.array([*RIGHT_EYE, *LEFT_EYE, *MOUTH_CORNERS])
_BEGINS, _COUNTS = [0, 4, 8], np.array([[4], [4], [2]], np.float32)

EYE_SPAN, MOUTH_SPAN, MOUTH_SHIFT = 2.0, 1.8, 0.1
"""FFHQ's alignment: half = max(2 x eye distance, 1.8 x eye-to-mouth), centre a tenth towards the mouth."""

MARGIN = 0.92
"""Half side relative to FFHQ's: tighter, for more pixels on the face, but chin and brow stay inside."""


def crop_from_anchors(right_eye: Array, left_eye: Array, mouth: Array) -> Crop:
    """Crop from three image points (2,): both eye centres and the midpoint of the mouth corners.

    The alignment of FFHQ (Karras et al. 2019, appendix A), as a similarity transform, scaled by `MARGIN`.

    :raises FaceError: the points coincide or are not finite.
    """
    (right_x, right_y), (left_x, left_y), (mouth_x, mouth_y) = (
        map(float, point) for point in (right_eye, left_eye, mouth)
    )
    eyes_x, eyes_y = (right_x + left_x) / 2, (right_y + left_y) / 2
    across_x, across_y = left_x - right_x, left_y - right_y
    down_x, down_y = mouth_x - eyes_x, mouth_y - eyes_y
    axis_x, axis_y = across_x + down_y, across_y - down_x
    half = MARGIN * max(math.hypot(across_x, across_y) * EYE_SPAN, math.hypot(down_x, down_y) * MOUTH_SPAN)
    # A sum with a NaN or an infinity in it is not finite either.
    finite = math.isfinite(half + axis_x + axis_y)
    if not finite or half < 1.0 or math.hypot(axis_x, axis_y) < 1e-6:
        raise FaceError("The face is too small or its landmarks are not usable; move closer to the camera.")
    x, y = eyes_x + down_x * MOUTH_SHIFT, eyes_y + down_y * MOUTH_SHIFT
    return Crop(x, y, half, math.atan2(axis_y, axis_x))


def crop_from_landmarks(landmarks: Array) -> Crop:
    """Crop from (478, 2+) MediaPipe landmarks in image pixels.

    :raises FaceError: as `crop_from_anchors`.
    """
    anchors = np.add.reduceat(landmarks[_ANCHORS, :2], _BEGINS, axis=0) / _COUNTS
    return crop_from_anchors(*anchors.tolist())


def crop_image(image: Array, crop: Crop, size: int) -> Array:
    """Cut ``crop`` out of ``image`` as a (size, size[, C]) picture of the same dtype, antialiased.

    Where the crop is larger than the picture, the image is first shrunk by area averaging to within a
    factor of two, then sampled bilinearly; the image's border pixels are repeated outside it.
    """
    matrix = image_from_crop(crop, size)
    if 2 * crop.half / size > 2.0:
        image, matrix = _shrink_around(image, crop, size, matrix)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def paste_crop(picture: Array, crop: Crop, width: int, height: int, border: float | None = 0.0) -> Array:
    """Inverse of `crop_image`: lay a crop picture (S, S) back over a height x width canvas.

    :param border: value around the picture; None repeats the picture's own border.
    """
    matrix = crop_from_image(crop, picture.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        picture, matrix, (width, height), flags=flags, borderMode=mode, borderValue=border or 0.0
    )


def _shrink_around(image: Array, crop: Crop, size: int, matrix: Array) -> tuple[Array, Array]:
    """Area-average what lies under ``crop`` until one crop pixel spans one to two of its pixels.

    Returns the small picture and ``matrix`` (crop pixels to image pixels) made to lead into it.
    """
    reach = crop.half * (abs(math.cos(crop.angle)) + abs(math.sin(crop.angle))) + 2
    height, width = image.shape[:2]
    left, right = max(0, int(crop.x - reach)), min(width, int(crop.x + reach) + 2)
    top, bottom = max(0, int(crop.y - reach)), min(height, int(crop.y + reach) + 2)
    if right - left < 2 or bottom - top < 2:
        return image, matrix
    window = image[top:bottom, left:right]
    factor = size / (2 * crop.half) * 1.5
    target = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    small = cv2.resize(window, target, interpolation=cv2.INTER_AREA)
    scale = np.array([target[0] / (right - left), target[1] / (bottom - top)])
    # Pixel centres: p_small = (p - corner + 0.5) * scale - 0.5; the two scales differ by rounding.
    into = matrix * scale[:, None]
    into[:, 2] += (0.5 - np.array([left, top])) * scale - 0.5
    return small, into
