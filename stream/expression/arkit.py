"""ARKit's 52 expression coefficients: their names and order here, and those of other models by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.errors import InputError
from stream.types import Array

ARKIT_NAMES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft",
    "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight",
    "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight",
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""ARKit's blend shape locations, in the alphabetical order that MediaPipe uses too, tongueOut last."""


def arkit_name(name: str) -> str:
    """ARKit's name of a coefficient that another model calls ``..._L`` or ``..._R``, or ``browInnerUp_L``.

    Both halves of a shape that ARKit does not split (browInnerUp, cheekPuff) get its one name.
    """
    base, _, side = name.partition("_")
    if not side:
        return name
    split = base + {"L": "Left", "R": "Right"}.get(side, side)
    return split if split in ARKIT_NAMES else base


def to_arkit(names: Sequence[str], coefficients: Array) -> Array:
    """Coefficients (..., K) of a model as ARKit's (..., 52) float32, the largest where several share a name.

    :param names: K names as `arkit_name` takes them; those that ARKit lacks are left out.
    :raises InputError: their number differs from K.
    """
    if coefficients.shape[-1] != len(names):
        raise InputError(f"There are {len(names)} names for {coefficients.shape[-1]} coefficients.")
    places = {name: i for i, name in enumerate(ARKIT_NAMES)}
    found = np.zeros((*coefficients.shape[:-1], len(ARKIT_NAMES)), np.float32)
    for column, name in enumerate(names):
        place = places.get(arkit_name(name))
        if place is not None:
            found[..., place] = np.maximum(found[..., place], coefficients[..., column])
    return found
