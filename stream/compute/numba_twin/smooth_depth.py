"""`smooth_depth` on the CPU.

What is constant there comes as an argument: numba's cache does not notice a constant that changed
elsewhere.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.compute.resize_maps import DepthMaps
from stream.compute.smooth_depth import DEPTH_CHANGE, DRIFT, MASK_CHANGE, SmoothMaps, patch_side
from stream.types import Array

ZERO, ONE = np.float32(0), np.float32(1)

_given = types.Array(types.float32, 2, "C", readonly=True)
_made = types.Array(types.float32, 2, "C")


def smooth_depth(
    new: DepthMaps,
    past: SmoothMaps,
    still: Array,
    rates: Array,
    tilt: Array | None,
    out: SmoothMaps,
    stream: None,
) -> None:
    """Fill ``out``, one map after another (`stream.compute.smooth_depth`)."""
    side = patch_side(new.depth.shape[1])
    changes = np.empty(new.depth.shape[1:], np.float32)
    given = (new.depth, past.depth, new.mask, past.mask, still, past.drift)
    limits = 1 / DEPTH_CHANGE, 1 / DRIFT, 1 / MASK_CHANGE
    for n, rate in enumerate(rates.tolist()):
        *maps, its_still, drift = (np.ascontiguousarray(array[n]) for array in given)
        patch_change(*maps, DEPTH_CHANGE, changes)
        patch = cv2.blur(changes, (side, side))
        made: list[Array] = [getattr(out, name)[n] for name in ("depth", "mask", "drift", "keep")]
        smooth_pixels(*maps, its_still, patch, drift, *rate, *limits, *made)
        if new.confidence is not None and past.confidence is not None and out.confidence is not None:
            now, before = (np.ascontiguousarray(array[n]) for array in (new.confidence, past.confidence))
            toward(now, before, made[-1], out.confidence[n])
        if tilt is not None and out.level is not None:
            level(made[0], *tilt[n].tolist(), out.level[n])


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
            out_drift[i, j] = drift * calm if calm > ZERO else ZERO
            out[i, j] = _toward(new[i, j], past[i, j], keep[i, j])
            kept = _biweight(mask[i, j] - past_mask[i, j], per_mask) * mask_keep
            out_mask[i, j] = _toward(mask[i, j], past_mask[i, j], kept)


@compiled(types.void(_given, _given, _given, _made))
def toward(new: Array, past: Array, keep: Array, out: Array) -> None:
    """Each pixel of ``new`` drawn to ``past`` by ``keep``."""
    for i in range(new.shape[0]):
        for j in range(new.shape[1]):
            out[i, j] = _toward(new[i, j], past[i, j], keep[i, j])


@compiled(types.void(_given, types.float32, types.float32, types.float32, _made))
def level(depth: Array, across: float, down: float, offset: float, out: Array) -> None:
    """A map without a plane."""
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            out[i, j] = depth[i, j] - (across * np.float32(j) + down * np.float32(i) + offset)
