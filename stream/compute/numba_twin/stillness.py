"""The passes over pixels of `stream.depth.stillness`, on the CPU only.

What is constant there comes as an argument: numba's cache does not notice a constant that changed
elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

ZERO, ONE = np.float32(0), np.float32(1)

_given = types.Array(types.float32, 2, "C", readonly=True)
_made = types.Array(types.float32, 2, "C")


@inline
def _biweight(value: Any, inverse: Any) -> Any:
    """Tukey's (1 - v^2)^2 of a value in units of its limit; 0 from there on and for NaN."""
    part = value * inverse
    rest = ONE - part * part
    return rest * rest if rest > ZERO else ZERO


@inline
def _largest_nearby(values: Array, i: int, j: int) -> Any:
    """The largest of the 3 x 3 values around one, or what of them there is."""
    largest = values[i, j]
    for y in range(max(i - 1, 0), min(i + 2, values.shape[0])):
        for x in range(max(j - 1, 0), min(j + 2, values.shape[1])):
            largest = max(largest, values[y, x])
    return largest


@compiled(types.float32(_given, _given, _given, *[types.float32] * 5, _made, _made))
def look(
    grey: Array,
    past: Array,
    head: Array,
    risen: float,
    least: float,
    still: float,
    moving: float,
    keep: float,
    out: Array,
    picture: Array,
) -> Any:
    """How still each pixel of a picture is (``out``), and the picture drawn to its past where it is.

    :param head: above 0.5 where the noise counts; NaN where not.
    :param risen, least: the highest and the lowest noise that may be found.
    :param still, moving: multiples of the noise; see `stream.depth.stillness`.
    :return: the noise, or -1 where there is no head.
    """
    inside, count = np.empty(grey.size, np.float32), 0
    for i in range(grey.shape[0]):
        for j in range(grey.shape[1]):
            if head[i, j] > np.float32(0.5):
                inside[count] = grey[i, j] - past[i, j]
                count += 1
    if count == 0:
        return np.float32(-1)
    brighter = np.float32(np.median(inside[:count]))
    size = np.empty_like(grey)
    for i in range(grey.shape[0]):
        for j in range(grey.shape[1]):
            size[i, j] = abs(grey[i, j] - past[i, j] - brighter)
    for n in range(count):
        inside[n] = abs(inside[n] - brighter)
    noise = max(min(risen, np.float32(np.median(inside[:count]))), least)
    per_step = ONE / (moving - still)
    for i in range(grey.shape[0]):
        for j in range(grey.shape[1]):
            # What moves takes its neighbourhood along: depth is blurrier than the picture's edges.
            excess = _largest_nearby(size, i, j) / noise - still
            out[i, j] = _biweight(max(excess, ZERO), per_step)
            picture[i, j] = grey[i, j] - keep * out[i, j] * (grey[i, j] - past[i, j] - brighter)
    return noise
