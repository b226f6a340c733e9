"""Faces made of the package's own basis, so that what they do is known."""

from collections.abc import Mapping

import numpy as np
from people import capture_with, expressions_of

from stream.data.faces.sampling import turn
from stream.expression.arkit import ARKIT_NAMES
from stream.expression.basis import expression_basis
from stream.expression.stage import ExpressionStage
from stream.face.head_model import head_model
from stream.face.pose import solve_pose
from stream.geometry import INTER_PUPIL_MM, intrinsics_from_fov, project
from stream.types import Array, Capture, Crop, Face, Frame

CAMERA = intrinsics_from_fov(640, 480)
RATE = 30.0
PICTURE = np.zeros((480, 640, 3), np.uint8)


def codes(**coefficients: float) -> Array:
    """(52,) float32 of the named coefficients."""
    values = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in coefficients.items():
        values[ARKIT_NAMES.index(name)] = value
    return values


def value(coefficients: Array, name: str) -> float:
    return float(coefficients[ARKIT_NAMES.index(name)])


def make_face(
    coefficients: Array,
    identity: Mapping[int, float] | None = None,
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    noise: float = 0.0,
    seed: int = 0,
    track: int = 0,
    ipd_mm: float = INTER_PUPIL_MM,
) -> Face:
    """A face half a metre away that shows (52,) coefficients, with the pose that the face stage would find.

    :param identity: standard deviations by mode.
    :param angles: yaw, pitch, roll, radians.
    :param noise: standard deviation on the landmarks, mm.
    """
    basis = expression_basis()
    points = head_model() + np.tensordot(coefficients, basis.shapes, 1)
    for mode, amount in (identity or {}).items():
        points = points + amount * basis.identity[mode]
    points = points * (ipd_mm / INTER_PUPIL_MM) @ turn(*angles).T + [10.0, -5.0, 550.0]
    points = points + np.random.default_rng(seed).normal(0, noise, points.shape)
    landmarks = np.empty((len(points), 3), np.float32)
    landmarks[:, :2] = project(points, CAMERA)
    landmarks[:, 2] = (points[:, 2] - 550.0) * CAMERA.fx / 550.0
    return Face(track, landmarks, solve_pose(landmarks, CAMERA, None, ipd_mm), Crop(320, 240, 100, 0), CAMERA)


def capture(*faces: Face, time: float = 1.0) -> Capture:
    return capture_with(Frame(PICTURE, time, round(time * RATE), "test"), faces)


def play(
    stage: ExpressionStage, courses: Array, start: float = 1.0, noise: float = 0.15, **face: object
) -> Array:
    """(T, 52) what the stage says of coefficients (T, 52), shown at `RATE`."""
    found = []
    for index, course in enumerate(courses):
        seen = make_face(course, noise=noise, seed=index, **face)  # type: ignore[arg-type]
        (expression,) = expressions_of(stage(capture(seen, time=start + index / RATE)))
        found.append(expression.coefficients)
    return np.stack(found)


def opened(ipd_mm: float = INTER_PUPIL_MM) -> ExpressionStage:
    stage = ExpressionStage(ipd_mm)
    stage.open()
    return stage
