"""Temporal smoothing of depth maps: still surfaces calm down, moving ones are followed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.depth.stillness import Seen, grey_picture, how_still
from stream.errors import InputError
from stream.types import Array, Depth

TIME_CONSTANT = 0.25
"""Seconds over which a still surface is averaged."""

MAX_GAP = 0.5
"""Seconds without a face after which its past no longer counts."""

DEPTH_CHANGE = 0.05
"""Crop units (about 6 mm): a pixel that changes this much at once moves, whatever its neighbours do."""

DRIFT = 0.02
"""Crop units: a patch whose mean stays this far from its past moves, however slowly it got there."""

DRIFT_SECONDS = 0.07
"""Time constant of the mean that is compared with `DRIFT`."""

PATCH = 1 / 12
"""Side of such a patch relative to the map's."""

MASK_SECONDS, MASK_CHANGE = 0.1, 0.5
"""Time constant of the mask, and the change of its probability that is no noise."""


@dataclass(frozen=True, slots=True)
class _Past:
    """What is remembered of a track.

    :ivar drift: (S, S), low-passed mean over a patch of what the network says and the past does not.
    :ivar seen: the picture of the crop.
    """

    seconds: float
    depth: Depth
    drift: Array
    seen: Seen


class DepthSmoother:
    """Smoothing in time of one track's depth, in the frame of its crop, wherever nothing moves.

    Each pixel moves from its smoothed past towards its new value by 1 - k, with
    k = exp(-dt / `TIME_CONSTANT`) times three weights, each 1 where there is no sign of motion and 0 where
    there is a clear one, by Tukey's biweight (1 - u^2)^2:

    * the picture: depth is a function of the picture alone, so where the crop looks as it did, a change
      of depth is noise (`stream.depth.stillness`);
    * the patch: noise has no memory and little mean, so a change that stays is motion (`DRIFT`);
    * the pixel: nothing but motion changes a pixel by `DEPTH_CHANGE` at once.

    The bilateral filter of Tomasi and Manduchi (ICCV 1998) with time for space, made recursive, and guided
    by the picture as in the joint filter of Petschnigg et al. (SIGGRAPH 2004). Confidence and normals move
    with the depth; the mask has its own change. The crop moves with the face, so motion of the head as a
    whole needs no compensation. What it achieves is measured by `prosopon eval jitter`.

    Not for use from two threads at once.
    """

    def __init__(self) -> None:
        self._past: _Past | None = None

    def __call__(self, seconds: float, depth: Depth, picture: Array) -> Depth:
        """Smooth the track's next depth.

        The past is dropped on a gap of more than `MAX_GAP`, a clock that does not advance, another size or
        other parts; the depth then passes unchanged.

        :param seconds: when the frame was taken.
        :param depth: float32 maps.
        :param picture: (T, T, 3) uint8 RGB of the crop, T at least 64: the one cut for the network will do.
        :raises InputError: parts differ in shape, the time is not finite or the picture of another kind.
        """
        _check(seconds, depth)
        grey = grey_picture(picture)
        past = self._past
        if past is not None and 0 < seconds - past.seconds <= MAX_GAP and _alike(past.depth, depth):
            self._past = _follow(past, seconds, depth, grey)
        else:
            self._past = _Past(seconds, depth, np.zeros_like(depth.map), Seen(grey))
        return self._past.depth


def _follow(past: _Past, seconds: float, depth: Depth, grey: Array) -> _Past:
    """The next state of a track."""
    from stream.compute.numba_twin.temporal import patch_change, smooth_pixels

    step = seconds - past.seconds
    new, mask = np.ascontiguousarray(depth.map), np.ascontiguousarray(depth.mask)
    before, before_mask = np.ascontiguousarray(past.depth.map), np.ascontiguousarray(past.depth.mask)
    still, seen = how_still(past.seen, grey, np.minimum(before_mask, mask), step)
    out, out_mask, drift, keep = (np.empty(new.shape, np.float32) for _ in range(4))
    patch_change(new, before, mask, before_mask, DEPTH_CHANGE, keep)
    side = max(3, round(new.shape[0] * PATCH))
    smooth_pixels(
        new,
        before,
        mask,
        before_mask,
        cv2.resize(still, new.shape[::-1]),
        cv2.blur(keep, (side, side)),
        past.drift,
        -math.expm1(-step / DRIFT_SECONDS),
        math.exp(-step / TIME_CONSTANT),
        math.exp(-step / MASK_SECONDS),
        1 / DEPTH_CHANGE,
        1 / DRIFT,
        1 / MASK_CHANGE,
        out,
        out_mask,
        drift,
        keep,
    )
    confidence = _part(past.depth.confidence, depth.confidence, keep)
    normal = _smooth_normal(past.depth.normal, depth.normal, keep)
    return _Past(seconds, Depth(out, out_mask, confidence, normal), drift, seen)


def _part(past: Array | None, new: Array | None, keep: Array) -> Array | None:
    if past is None or new is None:
        return None
    from stream.compute.numba_twin.temporal import toward

    out = np.empty_like(keep)
    toward(np.ascontiguousarray(new), np.ascontiguousarray(past), keep, out)
    return out


def _smooth_normal(past: Array | None, new: Array | None, keep: Array) -> Array | None:
    """(S, S, 3) unit normals between both; normals towards the camera cannot cancel out."""
    if past is None or new is None:
        return None
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        mixed = past - new
        mixed *= keep[..., None]
        mixed += new
        mixed /= np.sqrt(np.einsum("yxc,yxc->yx", mixed, mixed))[..., None]
    if np.isfinite(mixed.sum()):
        return mixed
    return np.where(np.isfinite(mixed).all(axis=-1, keepdims=True), mixed, new)


def _alike(a: Depth, b: Depth) -> bool:
    """Whether both have the same size and the same parts."""
    return a.map.shape == b.map.shape and all(
        (x is None) == (y is None) for x, y in ((a.confidence, b.confidence), (a.normal, b.normal))
    )


def _check(seconds: float, depth: Depth) -> None:
    shape = depth.map.shape
    if depth.mask.shape != shape or len(shape) != 2 or not math.isfinite(seconds):
        raise InputError("Depth smoothing needs a map and a mask of the same shape and a finite time.")
    if depth.map.dtype != np.float32 or depth.mask.dtype != np.float32:
        raise InputError("Depth smoothing needs a map and a mask of float32.")
    if depth.confidence is not None and depth.confidence.shape != shape:
        raise InputError("Depth smoothing needs a confidence of the map's shape.")
    if depth.normal is not None and depth.normal.shape != (*shape, 3):
        raise InputError("Depth smoothing needs one normal for each pixel of the map.")
