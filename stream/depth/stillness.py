"""Where the picture of a face stands still: there, a change of its depth is noise.

A small blurred grey picture of the crop is compared with its own smoothed past, in units of the camera's
noise, which is estimated as it runs; changes of brightness as a whole do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.errors import InputError
from stream.types import Array

SIDE = 64
"""What the picture of a crop is shrunk to by averaging, against its noise."""

PICTURE_SECONDS = 0.05
"""Time constant of the picture that a new one is compared with."""

STILL, MOVING = 3.0, 8.0
"""A picture that differs from its past by less than the first many times its noise is still, by more than
the second many moving; in between, smoothly less still."""

FIRST_NOISE, LEAST_NOISE = 1.0, 0.15
"""Grey levels of noise in the small picture: assumed at first, and what 8-bit pictures have at least."""

NOISE_RISE = 0.3
"""Rate, per second, at which the estimated noise may grow, lest motion be taken for it; it falls at once."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is remembered of a crop's picture.

    :ivar picture: (`SIDE`, `SIDE`) float32 grey levels, smoothed.
    :ivar noise: of the picture, grey levels.
    """

    picture: Array
    noise: float = FIRST_NOISE


def grey_picture(picture: Array) -> Array:
    """A crop's picture (S, S, 3) uint8 RGB as (`SIDE`, `SIDE`) float32 grey levels, blurred; S >= `SIDE`.

    :raises InputError: it is of another kind.
    """
    if picture.ndim != 3 or picture.shape != (len(picture), len(picture), 3) or picture.dtype != np.uint8:
        raise InputError("Depth smoothing needs a square uint8 RGB picture of the crop.")
    if len(picture) < SIDE:
        raise InputError(f"Depth smoothing needs a picture of the crop of {SIDE}x{SIDE} pixels or more.")
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(small.astype(np.float32), (5, 5)))


def how_still(past: Seen, grey: Array, head: Array, step: float) -> tuple[Array, Seen]:
    """How still each part of the picture is, and what is remembered of it.

    :param grey: of `grey_picture`.
    :param head: (S, S) float32, above 0.5 where the head is; its noise alone counts.
    :param step: seconds since the past.
    :returns: grey's shape, float32: 1 where nothing moves, 0 where something clearly does.
    """
    from stream.compute.numba_twin.stillness import look

    still, picture = np.empty_like(grey), np.empty_like(grey)
    risen = past.noise * math.exp(NOISE_RISE * step)
    keep = math.exp(-step / PICTURE_SECONDS)
    inside = cv2.resize(head, grey.shape[::-1])
    noise = look(grey, past.picture, inside, risen, LEAST_NOISE, STILL, MOVING, keep, still, picture)
    if noise < 0:
        return np.ones_like(grey), Seen(grey, past.noise)
    return still, Seen(picture, noise)
