"""What a synthetic sample shows: identity, expression, gaze, pose, camera, light, hair, background.

Angles of heads and eyes are those of `stream.face.pose.euler_angles`: positive yaw turns to the image's
left, positive pitch down, positive roll clockwise as seen in the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from stream.geometry import intrinsics_from_fov
from stream.training.faces.head import HeadModel
from stream.training.faces.ict import EXPRESSIONS, IDENTITY_MODES
from stream.training.faces.render import Eyes, Lighting
from stream.types import Array, Intrinsics

IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
NEAREST_MM, FARTHEST_MM = 350.0, 1600.0
HAIR_SHARE = 0.55

HAIR_COLOURS = (
    (0.06, 0.05, 0.05), (0.12, 0.08, 0.06), (0.22, 0.14, 0.09), (0.36, 0.24, 0.14), (0.55, 0.40, 0.24),
    (0.72, 0.58, 0.38), (0.45, 0.20, 0.10), (0.55, 0.54, 0.52), (0.80, 0.79, 0.77),
)  # fmt: skip
IRIS_COLOURS = ((0.30, 0.18, 0.10), (0.20, 0.12, 0.07), (0.35, 0.42, 0.50), (0.33, 0.40, 0.28))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is: rotation (3, 3) and translation (3,) mm, head to camera.

    :ivar yaw, pitch: degrees, relative to a head that faces the camera from where it is.
    """

    rotation: Array
    translation: Array
    yaw: float
    pitch: float


def draw_identity(rng: Generator, fitted: Array, others: Array) -> Array:
    """(50,) identity: the photo's own, varied; or between two others'; or drawn from the model.

    :param fitted: (50,) of the photo whose texture is used; ``others`` (2, 50) of two more photos.
    """
    kind = rng.random()
    if kind < 0.5:
        chosen = fitted + rng.normal(0, 0.55, IDENTITY_MODES)
    elif kind < 0.75:
        share = rng.random()
        chosen = others[0] * share + others[1] * (1 - share) + rng.normal(0, 0.55, IDENTITY_MODES)
    else:
        chosen = rng.normal(0, 0.9, IDENTITY_MODES)
    return np.clip(chosen, -3, 3)


def draw_expression(rng: Generator, model: HeadModel, fitted: Array) -> Array:
    """(57,) expression in 0..1: a fitted one (57,), random movements, or both; mouths open often."""
    expression = np.zeros(EXPRESSIONS)
    kind = rng.random()
    if kind < 0.65:
        expression = fitted * rng.uniform(0.3, 1.2)
    if kind > 0.35:
        expression = expression + _random_movements(rng, model)
    named = {name: i for i, name in enumerate(model.expressions)}
    if rng.random() < 0.35:
        expression[named["jawOpen"]] = rng.uniform(0.1, 1.0) ** 1.3
    if rng.random() < 0.25:
        smile = rng.uniform(0.2, 1.0)
        for side in "LR":
            expression[named[f"mouthSmile_{side}"]] = smile * rng.uniform(0.8, 1.0)
            expression[named[f"cheekSquint_{side}"]] = smile * rng.uniform(0.0, 0.6)
            expression[named[f"mouthUpperUp_{side}"]] = smile * rng.uniform(0.0, 0.4)
    if rng.random() < 0.15:
        shut = rng.uniform(0.4, 1.0)
        expression[[named["eyeBlink_L"], named["eyeBlink_R"]]] = shut
        expression[[named["eyeWide_L"], named["eyeWide_R"]]] = 0
    expression = np.clip(expression, 0, 1)
    expression[[named["PupilDilate_L"], named["PupilDilate_R"]]] = 0
    # Lips that close more than the jaw opens pass through each other.
    expression[named["mouthClose"]] = min(expression[named["mouthClose"]], 0.8 * expression[named["jawOpen"]])
    return expression


def _random_movements(rng: Generator, model: HeadModel) -> Array:
    """A few random expressions; left and right mostly move together."""
    expression = np.zeros(EXPRESSIONS)
    pairs = [
        name[:-2] for name in model.expressions if name.endswith("_L") and not name.startswith("eyeLook")
    ]
    singles = [name for name in model.expressions if "_" not in name]
    named = {name: i for i, name in enumerate(model.expressions)}
    for _ in range(rng.integers(1, 5)):
        amount = rng.beta(1.5, 2.0)
        if rng.random() < 0.6:
            name = pairs[rng.integers(len(pairs))]
            left, right = (amount, amount) if rng.random() < 0.7 else (amount, amount * rng.random())
            expression[named[f"{name}_L"]], expression[named[f"{name}_R"]] = left, right
        else:
            expression[named[singles[rng.integers(len(singles))]]] = amount
    return expression


def draw_gaze(rng: Generator) -> tuple[float, float]:
    """Yaw and pitch of both eyes relative to the head, radians; signs as for a head."""
    return float(np.clip(rng.normal(0, 0.2), -0.5, 0.5)), float(np.clip(rng.normal(0, 0.12), -0.35, 0.35))


def gaze_expressions(model: HeadModel, gaze: tuple[float, float]) -> Array:
    """(57,) eyeLook coefficients that let the lids follow the eyeballs."""
    yaw, pitch = gaze
    expression = np.zeros(EXPRESSIONS)
    named = {name: i for i, name in enumerate(model.expressions)}
    # The person's left eye is on the image's right: looking left in the image turns it inwards.
    horizontal = ("eyeLookIn_L", "eyeLookOut_R") if yaw > 0 else ("eyeLookOut_L", "eyeLookIn_R")
    vertical = ("eyeLookDown_L", "eyeLookDown_R") if pitch > 0 else ("eyeLookUp_L", "eyeLookUp_R")
    expression[[named[name] for name in horizontal]] = min(abs(yaw) / 0.5, 1)
    expression[[named[name] for name in vertical]] = min(abs(pitch) / 0.4, 1)
    return expression


def turn(yaw: float, pitch: float, roll: float = 0.0) -> Array:
    """(3, 3) rotation Ry(yaw) Rx(pitch) Rz(roll), radians: the inverse of `euler_angles`."""
    x = cv2.Rodrigues(np.array([pitch, 0.0, 0.0]))[0]
    y = cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0]
    z = cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
    return y @ x @ z


def draw_camera(rng: Generator) -> Intrinsics:
    """An ordinary webcam's or phone's camera."""
    return intrinsics_from_fov(IMAGE_WIDTH, IMAGE_HEIGHT, float(rng.uniform(40, 85)))


def draw_pose(rng: Generator, camera: Intrinsics) -> Pose:
    """A head somewhere in the picture, mostly turned less than 40 degrees to the line of sight."""
    wide = rng.random() < 0.2
    yaw = rng.uniform(-70, 70) if wide else np.clip(rng.normal(0, 18), -45, 45)
    pitch = np.clip(rng.normal(0, 11), -27, 27)
    roll = rng.normal(0, 12)
    distance = math.exp(rng.uniform(math.log(NEAREST_MM), math.log(FARTHEST_MM)))
    x = rng.uniform(-0.6, 0.6) * camera.cx / camera.fx
    y = rng.uniform(-0.5, 0.5) * camera.cy / camera.fy
    sight = turn(math.atan(x), -math.atan2(y, math.hypot(1, x)))
    rotation = sight @ turn(*np.radians([yaw, pitch, roll]))
    ray = np.array([x, y, 1.0])
    return Pose(rotation, ray / np.linalg.norm(ray) * distance, float(yaw), float(pitch))


def draw_lighting(rng: Generator) -> Lighting:
    """Two lights and ambient, so scaled that a surface facing the camera keeps about its brightness."""
    directions = np.column_stack(
        [rng.normal(0, 1.0, 2), rng.normal(-0.4, 0.7, 2), -rng.uniform(0.15, 1.2, 2)]
    )
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    colours = rng.uniform(0.1, 1.0, (2, 1)) * (1 + rng.normal(0, 0.12, (2, 3)))
    ambient = rng.uniform(0.15, 0.8) * (1 + rng.normal(0, 0.06, 3))
    front = ambient.mean() + (colours.mean(axis=1) * np.maximum(-directions[:, 2], 0)).sum()
    gain = rng.uniform(0.75, 1.2) / front
    strength = 0.0 if rng.random() < 0.2 else float(rng.random())
    return Lighting(directions, np.clip(colours, 0, None) * gain, np.clip(ambient, 0, None) * gain, strength)


def draw_eyes(rng: Generator) -> Eyes:
    """Colours of a pair of eyes."""
    iris = np.array(IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))]) * rng.uniform(0.6, 1.3)
    sclera = np.array([0.88, 0.84, 0.82]) * rng.uniform(0.65, 1.0)
    return Eyes(np.clip(iris, 0, 1), sclera, float(rng.uniform(0.1, 0.2)))


def draw_hair_colour(rng: Generator, photographed: Array) -> Array:
    """(3,) colour in 0..1: that of the photo's hair, or a natural one."""
    if rng.random() < 0.4:
        return np.clip(photographed * rng.uniform(0.8, 1.3), 0.02, 0.95)
    return np.clip(
        np.array(HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))]) * rng.uniform(0.7, 1.4), 0.02, 0.95
    )


def draw_background(rng: Generator, photo: Array, side: int) -> Array:
    """(side, side, 3) uint8 picture: a wall, soft noise, or a blurred piece of ``photo``."""
    kind = rng.random()
    if kind < 0.25:
        corners = np.clip(rng.random(3) * 255 + rng.normal(0, 25, (2, 2, 3)), 0, 255).astype(np.float32)
        picture = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    elif kind < 0.45:
        cells = int(rng.integers(3, 24))
        noise = np.clip(rng.random(3) * 255 + rng.normal(0, 45, (cells, cells, 3)), 0, 255).astype(np.float32)
        picture = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    else:
        size = int(rng.integers(60, len(photo)))
        left, top = rng.integers(0, len(photo) - size, 2)
        piece = photo[top : top + size, left : left + size]
        piece = piece[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        picture = cv2.resize(np.ascontiguousarray(piece), (side, side), interpolation=cv2.INTER_LINEAR)
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), float(rng.uniform(2, 14)))
        picture = picture * rng.uniform(0.5, 1.2)
    return np.clip(picture, 0, 255).astype(np.uint8)
