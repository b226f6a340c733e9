"""Whether a face stands in the picture as its landmarks say, asked of the face detector.

The landmark network has seen upright faces only, and makes an upright face of one that stands on its head.
The detector knows better: of four views of the face, a quarter turn apart, it is surest of the upright one.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from stream.errors import FaceError
from stream.face.crop import crop_from_landmarks
from stream.types import Array

VIEW_SPAN, VIEW_PIXELS = 2.2, 128
"""Side of a view over the landmarks' extent, and in pixels."""

TOLERANCE = math.radians(45)
"""Landmarks that are turned further than this from the face are of none."""


def turned_by(detector: Any, image: Array, landmarks: Array) -> float | None:
    """Radians by which a face is turned on from how its landmarks have it, clockwise as seen, -pi to pi.

    Near 0 for landmarks that fit; None where the detector sees no face in any view.

    :param detector: MediaPipe's face detection for near faces.
    :param image: (H, W, 3) uint8 RGB.
    :param landmarks: (478, 3) in its pixels.
    """
    roll = roll_of(landmarks)
    views = np.empty((2, VIEW_PIXELS, 2, VIEW_PIXELS, 3), np.uint8)
    for quarter in range(4):
        matrix = upright_view(landmarks, roll + quarter * math.pi / 2, VIEW_SPAN, VIEW_PIXELS)
        views[quarter // 2, :, quarter % 2] = cut(image, matrix, VIEW_PIXELS)
    # All four in one picture: one look, and scores of the same network run.
    found = detector.process(views.reshape(2 * VIEW_PIXELS, 2 * VIEW_PIXELS, 3)).detections or ()
    best = max(found, key=lambda face: face.score[0], default=None)
    if best is None:
        return None
    right, left = best.location_data.relative_keypoints[:2]
    quarter = 2 * (right.y + left.y > 1) + (right.x + left.x > 1)
    turn = quarter * math.pi / 2 + math.atan2(left.y - right.y, left.x - right.x)
    return math.remainder(turn, 2 * math.pi)


def roll_of(landmarks: Array) -> float:
    """Radians by which landmarks have their face turned, clockwise as seen; 0 for those of no size."""
    try:
        return crop_from_landmarks(landmarks).angle
    except FaceError:
        return 0.0


def upright_view(landmarks: Array, roll: float, span: float, pixels: int) -> Array:
    """(2, 3) float64 from image pixels to those of a square view of a face that is turned by ``roll``.

    :param span: the view's side over the landmarks' extent.
    """
    points = landmarks[:, :2].astype(np.float64)
    scale = pixels / (span * max(float(np.ptp(points, axis=0).max()), 1.0))
    c, s = math.cos(roll) * scale, math.sin(roll) * scale
    linear = np.array([[c, s], [-s, c]])
    return np.column_stack([linear, (pixels - 1) / 2 - linear @ points.mean(axis=0)])


def cut(image: Array, matrix: Array, pixels: int) -> Array:
    """The view (pixels, pixels, 3) of an image, whose border pixels are repeated outside it."""
    return cv2.warpAffine(
        image, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def back(landmarks: Array, matrix: Array) -> Array:
    """Landmarks (478, 3) float32 in a view's pixels as those in image pixels; z keeps x and y's scale."""
    linear = np.linalg.inv(matrix[:, :2])
    points = np.empty_like(landmarks, dtype=np.float32)
    points[:, :2] = (landmarks[:, :2] - matrix[:, 2]) @ linear.T
    points[:, 2] = landmarks[:, 2] * math.sqrt(abs(np.linalg.det(linear)))
    return points
