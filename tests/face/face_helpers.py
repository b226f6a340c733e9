"""Faces to test with: the mean head under known poses, a photographed face, and shared material."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from shared_folder import SHARED
from skimage import data

from stream.face.head_model import head_model
from stream.geometry import intrinsics_from_fov, project, transform_points
from stream.types import Array, Frame, Intrinsics

ASTRONAUT_NOSE = (223.0, 130.0)
"""Landmark 1, under the nose's tip, in scikit-image's astronaut photo; the face is some 90 x 105 pixels."""


def shared(name: str) -> Path:
    """A file of the shared material; the test skips where it is absent."""
    if SHARED is None or not (SHARED / name).exists():
        pytest.skip(f"the shared file {name} is not here")
    return Path(SHARED / name)


def astronaut() -> Array:
    """(512, 512, 3) uint8 photo of a face."""
    return np.ascontiguousarray(data.astronaut())


def astronaut_at(
    x: float,
    y: float,
    width: int = 640,
    height: int = 480,
    scale: float = 1.0,
    background: Array | None = None,
) -> Array:
    """The astronaut's head with the nose at (x, y) on grey, or laid over ``background``."""
    head = astronaut()[0:230, 120:330]
    matrix = np.array(
        [[scale, 0, x - scale * (ASTRONAUT_NOSE[0] - 120)], [0, scale, y - scale * ASTRONAUT_NOSE[1]]]
    )
    canvas = np.full((height, width, 3), 128, np.uint8) if background is None else background
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(
        head, matrix, (width, height), canvas.copy(), flags=flags, borderMode=cv2.BORDER_TRANSPARENT
    )


def frame(image: Array, captured: float = 0.0, index: int = 0) -> Frame:
    return Frame(image, captured, index, "test")


def pose_matrix(yaw: float, pitch: float, roll: float, place: tuple[float, float, float]) -> Array:
    """(4, 4) head to camera; R = Ry(yaw) Rx(pitch) Rz(roll), degrees apart from the code."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    turn_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = turn_y @ turn_x @ turn_z
    pose[:3, 3] = place
    return pose


def landmarks_of(pose: Array, intrinsics: Intrinsics | None = None, ipd_mm: float = 63.0) -> Array:
    """(478, 3) float32 landmarks of the mean head seen under ``pose``; z as MediaPipe's, in pixels."""
    intrinsics = intrinsics or intrinsics_from_fov(640, 480)
    points = transform_points(pose, head_model(ipd_mm))
    depth = (points[:, 2:] - pose[2, 3]) * intrinsics.fx / pose[2, 3]
    return np.hstack([project(points, intrinsics), depth]).astype(np.float32)


def angle_between(a: Array, b: Array) -> float:
    """Degrees between two rotations (3, 3)."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))
