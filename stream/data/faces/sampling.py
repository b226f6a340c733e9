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

from stream.data.faces.head import HeadModel
from stream.data.faces.render import Eyes
from stream.geometry import intrinsics_from_fov
from stream.types import Array, Intrinsics

IMAGE_WIDTH, IMAGE_HEIGHT = 640, 480
NEAREST_MM, FARTHEST_MM = 350.0, 1600.0
WIDE_FOCAL = 570.0
"""Focal length in pixels of a lens of 70 degrees."""


@dataclass(frozen=True, slots=True)
class ViewKind:
    """A kind of view: its share of the samples, its range of absolute yaw in degrees (``None``: about 0 with
    a deviation of 14), and how much wider than usual the crop is."""

    share: float
    yaw: tuple[float, float] | None
    widen: tuple[float, float]


VIEWS = (
    ViewKind(0.70, None, (1.0, 1.0)),
    ViewKind(0.12, (20.0, 70.0), (1.0, 1.0)),
    ViewKind(0.06, (70.0, 90.0), (1.0, 1.0)),
    ViewKind(0.12, None, (1.15, 1.6)),
)
"""Seed 000, Table 4.1: frontal and tight, side view within 70 degrees, beyond, frontal with the neck."""

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
    """(I,) identity: the photo's own, varied; or between two others'; or drawn from the model.

    :param fitted: (I,) of the photo whose texture is used; ``others`` (2, I) of two more photos.
    """
    kind, count = rng.random(), len(fitted)
    if kind < 0.45:
        chosen = fitted + rng.normal(0, 0.6, count)
    elif kind < 0.65:
        share = rng.random()
        chosen = others[0] * share + others[1] * (1 - share) + rng.normal(0, 0.6, count)
    else:
        chosen = rng.normal(0, 1.0, count)
    return np.clip(chosen, -3, 3)


def draw_expression(rng: Generator, model: HeadModel, fitted: Array) -> Array:
    """(E,) expression in 0..1: a fitted one (E,), random movements, or both; mouths open often."""
    expression = np.zeros(len(model.expressions))
    kind = rng.random()
    if kind < 0.65:
        expression = fitted * rng.uniform(0.3, 1.2)
    if kind > 0.35:
        expression = expression + _random_movements(rng, model)
    named = {name: i for i, name in enumerate(model.expressions)}
    # Far more often than people do: a mouth is small, and its depth is learnt from the wide-open ones.
    if rng.random() < 0.6:
        expression[named["jawOpen"]] = rng.uniform(0.1, 1.0)
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
    expression[[i for name, i in named.items() if name.startswith("PupilDilate")]] = 0
    # Lips that close more than the jaw opens pass through each other.
    expression[named["mouthClose"]] = min(expression[named["mouthClose"]], 0.8 * expression[named["jawOpen"]])
    return expression


def _random_movements(rng: Generator, model: HeadModel) -> Array:
    """A few random expressions; left and right mostly move together."""
    expression = np.zeros(len(model.expressions))
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
    """(E,) eyeLook coefficients that let the lids follow the eyeballs."""
    yaw, pitch = gaze
    expression = np.zeros(len(model.expressions))
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
    """A tele lens, an ordinary webcam, or a phone's wide one: 12 to 70 degrees across the diagonal."""
    return intrinsics_from_fov(IMAGE_WIDTH, IMAGE_HEIGHT, float(rng.uniform(12, 70)))


def draw_view(rng: Generator) -> ViewKind:
    """One of the kinds of views of seed 000, Table 4.1, in its shares."""
    return VIEWS[int(rng.choice(len(VIEWS), p=[view.share for view in VIEWS]))]


def draw_pose(rng: Generator, camera: Intrinsics, view: ViewKind) -> Pose:
    """A head somewhere in the picture, turned to the line of sight as the kind of view says."""
    if view.yaw is None:
        yaw = np.clip(rng.normal(0, 14), -40, 40)
    else:
        yaw = rng.uniform(*view.yaw) * rng.choice([-1, 1])
    pitch = np.clip(rng.normal(0, 11), -28, 28)
    roll = rng.normal(0, 12)
    # The narrower the lens, the farther people sit.
    nearest = max(NEAREST_MM, NEAREST_MM * camera.fx / WIDE_FOCAL * 0.55)
    distance = math.exp(rng.uniform(math.log(nearest), math.log(max(FARTHEST_MM, 3 * nearest))))
    x = rng.uniform(-0.6, 0.6) * camera.cx / camera.fx
    y = rng.uniform(-0.5, 0.5) * camera.cy / camera.fy
    sight = turn(math.atan(x), -math.atan2(y, math.hypot(1, x)))
    rotation = sight @ turn(*np.radians([yaw, pitch, roll]))
    ray = np.array([x, y, 1.0])
    return Pose(rotation, ray / np.linalg.norm(ray) * distance, float(yaw), float(pitch))


def draw_eyes(rng: Generator) -> Eyes:
    """Colours of a pair of eyes."""
    iris = np.array(IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))]) * rng.uniform(0.6, 1.3)
    sclera = np.array([0.88, 0.84, 0.82]) * rng.uniform(0.65, 1.0)
    return Eyes(np.clip(iris, 0, 1), sclera, float(rng.uniform(0.1, 0.2)))
