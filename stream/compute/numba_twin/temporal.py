"""The passes over pixels of `stream.depth.smoothing` and `stream.depth.stillness`, on the CPU only.

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
def _toward(new: Any, past: Any, keep: Any) -> Any:
    """``new`` drawn to ``past``; ``new`` itself where one of them is not finite."""
    mixed = new + keep * (past - new)
    return mixed if np.isfinite(mixed) else new


@compiled(types.void(_given, _given, _given, _given, types.float32, _made))
def patch_change(new: Array, past: Array, mask: Array, past_mask: Array, limit: float, out: Array) -> None:
    """The change of each pixel, at most ``limit``, times how surely it is head both times; else 0."""
    for i in range(new.shape[0]):
        for j in range(new.shape[1]):
            change, sum_of_masks = new[i, j] - past[i, j], mask[i, j] + past_mask[i, j]
            if np.isfinite(change) and np.isfinite(sum_of_masks):
                out[i, j] = min(max(change, -limit), limit) * min(mask[i, j], past_mask[i, j])
            else:
                out[i, j] = ZERO


@compiled(types.void(*[_given] * 7, *[types.float32] * 6, *[_made] * 4))
def smooth_pixels(
    new: Array,
    past: Array,
    mask: Array,
    past_mask: Array,
    still: Array,
    patch: Array,
    past_drift: Array,
    drift_rate: float,
    depth_keep: float,
    mask_keep: float,
    per_change: float,
    per_drift: float,
    per_mask: float,
    out: Array,
    out_mask: Array,
    out_drift: Array,
    keep: Array,
) -> None:
    """Depth, mask and drift drawn to their past, and by how much the depth was, in one pass.

    :param still: how still the picture is, 0..1.
    :param patch: mean over a patch of `patch_change`.
    :param drift_rate, depth_keep, mask_keep: what a step does to each where nothing moves.
    :param per_change, per_drift, per_mask: one over each one's limit.
    """
    for i in range(new.shape[0]):
        for j in range(new.shape[1]):
            change, sum_of_masks = new[i, j] - past[i, j], mask[i, j] + past_mask[i, j]
            drift = past_drift[i, j] + drift_rate * (patch[i, j] - past_drift[i, j])
            calm = ZERO
            # A pixel that is not finite neither keeps its past nor has a say later.
            if np.isfinite(change) and np.isfinite(sum_of_masks):
                calm = still[i, j] * _biweight(drift, per_drift) * _biweight(change, per_change)
            keep[i, j] = calm * depth_keep
            out_drift[i, j] = drift * calm
            out[i, j] = _toward(new[i, j], past[i, j], keep[i, j])
            kept = _biweight(mask[i, j] - past_mask[i, j], per_mask) * mask_keep
            out_mask[i, j] = _toward(mask[i, j], past_mask[i, j], kept)


@compiled(types.void(_given, _given, _given, _made))
def toward(new: Array, past: Array, keep: Array, out: Array) -> None:
    """Each pixel of ``new`` drawn to ``past`` by ``keep``."""
    for i in range(new.shape[0]):
        for j in range(new.shape[1]):
            out[i, j] = _toward(new[i, j], past[i, j], keep[i, j])


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
