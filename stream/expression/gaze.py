"""Where the eyes look, from the irises between the corners of the eyes."""

from __future__ import annotations

import math

import numpy as np

from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array

IRIS_RADIUS_MM = 10.5
"""From an eyeball's centre to its iris, which is set back from its front; it measures 24 mm across."""

FULL_YAW, FULL_PITCH = 0.5, 0.4
"""Turn of an eye, radians, that a coefficient of 1 stands for; the avatar's eyes turn by as much."""

EYES = ((468, 33, 133), (473, 263, 362))
"""The middle of the iris, the outer and the inner corner of the person's right and left eye."""

LID_MIDDLES = ((159, 145), (386, 374))
"""Middle of the upper and of the lower lid's edge, right and left."""

LOOK_PLACES = np.array([place for place, name in enumerate(ARKIT_NAMES) if name.startswith("eyeLook")])


def gaze_angles(moved: Array) -> tuple[float, float]:
    """Yaw and pitch of the gaze relative to the head, radians; positive to the image's left and down.

    Both eyes are taken to look in parallel: their mean is calmer, and how far apart the tracker sees a
    person's irises says more of the person than of the gaze.

    :param moved: (3, 478) how far the landmarks are from those of the neutral face, which looks straight
        ahead; head frame, mm. The movement of the corners of the eyes is the head's and is taken off.
    """
    x, y = np.mean(
        [moved[:2, iris] - (moved[:2, outer] + moved[:2, inner]) / 2 for iris, outer, inner in EYES], axis=0
    )
    yaw, pitch = (math.asin(float(np.clip(way / IRIS_RADIUS_MM, -1, 1))) for way in (-x, y))
    return yaw, pitch


def look_coefficients(gaze: tuple[float, float]) -> Array:
    """(52,) float32, the eyeLook coefficients of a gaze as `gaze_angles` gives it; the others are 0."""
    yaw, pitch = gaze
    # The image's left is inwards for the person's left eye and outwards for the right one.
    names: tuple[str, ...] = ("InLeft", "OutRight") if yaw > 0 else ("OutLeft", "InRight")
    names += ("DownLeft", "DownRight") if pitch > 0 else ("UpLeft", "UpRight")
    shares = (abs(yaw) / FULL_YAW,) * 2 + (abs(pitch) / FULL_PITCH,) * 2
    coefficients = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, share in zip(names, shares, strict=True):
        coefficients[ARKIT_NAMES.index(f"eyeLook{name}")] = min(share, 1.0)
    return coefficients


def eye_opening(neutral: Array, moved: Array) -> float:
    """How far the wider of the two eyes is open, as a share of the neutral face's.

    :param neutral: (478, 3) and ``moved`` (3, 478) from there, head frame, mm.
    """
    shares = [
        1 + float(moved[1, lower] - moved[1, upper]) / max(float(neutral[lower, 1] - neutral[upper, 1]), 1.0)
        for upper, lower in LID_MIDDLES
    ]
    return max(shares)
