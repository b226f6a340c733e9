"""Where the picture of a face stands still: there, a change of its depth is noise.

A small blurred grey picture of the crop is compared with its own smoothed past, in units of the camera's
noise, which is estimated as it runs; changes of brightness as a whole do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.types import Array

PICTURE_SIDE = 128
"""Side of the picture of the crop by which motion is seen; it is halved by averaging against its noise."""

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

    :ivar picture: (`PICTURE_SIDE` / 2, `PICTURE_SIDE` / 2) float32 grey levels, smoothed.
    :ivar noise: of the picture, grey levels.
    """

    picture: Array
    noise: float = FIRST_NOISE


def grey_picture(picture: Array) -> Array:
    """(`PICTURE_SIDE`, `PICTURE_SIDE`, 3) uint8 RGB, half as large and blurred, as float32 grey levels."""
    half = (PICTURE_SIDE // 2, PICTURE_SIDE // 2)
    small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), half, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(small.astype(np.float32), (5, 5)))


def how_still(past: Seen, grey: Array, head: Array, step: float) -> tuple[Array, Seen]:
    """How still each part of the picture is, and what is remembered of it.

    :param grey: of `grey_picture`.
    :param head: (S, S) float32, above 0.5 where the head is; its noise alone counts.
    :param step: seconds since the past.
    :returns: grey's shape, float32: 1 where nothing moves, 0 where something clearly does.
    """
    with np.errstate(invalid="ignore"):
        inside = cv2.resize(head, grey.shape[::-1]) > 0.5
    if not inside.any():
        return np.ones_like(grey), Seen(grey, past.noise)
    change = grey - past.picture
    change -= np.median(change[inside])
    size = np.abs(change)
    risen = past.noise * math.exp(NOISE_RISE * step)
    noise = max(min(risen, float(np.median(size[inside]))), LEAST_NOISE)
    # What moves takes its neighbourhood along: depth is blurrier than the picture's edges.
    size = cv2.dilate(size, np.ones((3, 3), np.uint8))
    excess = (size / np.float32(noise) - np.float32(STILL)) / np.float32(MOVING - STILL)
    still = biweight(np.maximum(excess, 0), 1.0)
    picture = grey - (np.float32(math.exp(-step / PICTURE_SECONDS)) * still) * change
    return still, Seen(picture, noise)


def biweight(values: Array, limit: float) -> Array:
    """Tukey's (1 - (v / limit)^2)^2, 0 from the limit on and for NaN; float32."""
    with np.errstate(invalid="ignore", over="ignore"):
        rest = np.float32(1) - np.square(values * np.float32(1 / limit))
        return np.where(rest > 0, rest * rest, np.float32(0))
