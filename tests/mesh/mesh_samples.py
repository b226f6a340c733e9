"""Faces, depths and pictures with known answers, for the tests of this folder."""

from __future__ import annotations

import cv2
import numpy as np

from stream.types import Array, Crop, Depth, Face, Frame, Intrinsics

CAMERA = Intrinsics(620.0, 620.0, 319.5, 239.5, 640, 480)
CROP = Crop(330.0, 250.0, 100.0, 0.15)
DISTANCE = 640.0


def sample_face(track_id: int = 1, crop: Crop = CROP, distance: float = DISTANCE) -> Face:
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = distance
    return Face(track_id, np.zeros((478, 3), np.float32), pose, crop, CAMERA)


def sample_frame(captured: float = 0.0) -> Frame:
    """A picture whose red and green tell the column and row."""
    row, column = np.mgrid[0:480, 0:640]
    image = np.stack([column / 640 * 255, row / 480 * 255, np.full((480, 640), 90)], axis=2)
    return Frame(image.astype(np.uint8), captured, 0, "test")


def dome(size: int = 48, height: float = 0.5) -> Depth:
    """A rounded face: nearest in the middle, within a circle of radius 0.8."""
    y, x = (np.mgrid[0:size, 0:size] * 2 + 1) / size - 1
    square = x**2 + y**2
    return Depth((height * square).astype(np.float32), (square < 0.64).astype(np.float32))


def coordinates(size: int) -> tuple[Array, Array]:
    """Crop coordinates x, y of every pixel, each (size, size)."""
    y, x = (np.mgrid[0:size, 0:size] * 2 + 1) / size - 1
    return x, y


def inner(valid: Array) -> Array:
    """(N,) bool of a square grid: valid vertices all of whose 8 neighbours are valid, so not the rim."""
    size = round(len(valid) ** 0.5)
    return cv2.erode(valid.reshape(size, size).astype(np.uint8), np.ones((3, 3))).ravel() > 0
