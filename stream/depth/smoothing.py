"""Temporal smoothing of depth maps: still surfaces calm down, moving ones are followed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.compute.resize_maps import DepthMaps
from stream.compute.smooth_depth import SmoothMaps, smooth_buffers, smoothing_rates
from stream.depth.stillness import Seen, grey_picture, how_still
from stream.errors import InputError
from stream.types import Array, Depth

MAX_GAP = 0.5
"""Seconds without a face after which its past no longer counts."""


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

    `stream.compute.smooth_depth` says how. Normals move with the depth, too. The crop moves with the face, so
    motion of the head as a whole needs no compensation. What it achieves is measured by `prosopon eval
    jitter`.

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
    from stream.compute.numba_twin.smooth_depth import smooth_depth as smooth

    step, size = seconds - past.seconds, depth.map.shape[0]
    still, seen = how_still(past.seen, grey, past.depth.mask, step)
    before, large = _batch(past.depth), cv2.resize(still, (size, size))
    state = SmoothMaps(before.depth, before.mask, past.drift[None], before.confidence)
    made = smooth_buffers(1, size, depth.confidence is not None)
    # The twin itself: to check a dozen arrays again would cost 0.1 ms.
    smooth(_batch(depth), state, large[None], smoothing_rates(step)[None], None, made, None)
    assert made.keep is not None
    normal = _smooth_normal(past.depth.normal, depth.normal, made.keep[0])
    confidence = None if made.confidence is None else made.confidence[0]
    return _Past(seconds, Depth(made.depth[0], made.mask[0], confidence, normal), made.drift[0], seen)


def _batch(depth: Depth) -> DepthMaps:
    """The maps of one face as a batch."""
    confidence = None if depth.confidence is None else depth.confidence[None]
    return DepthMaps(depth.map[None], depth.mask[None], confidence)


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
    if depth.mask.shape != shape or shape != (len(depth.map),) * 2 or not math.isfinite(seconds):
        raise InputError("Depth smoothing needs a square map, a mask of its shape and a finite time.")
    if depth.map.dtype != np.float32 or depth.mask.dtype != np.float32:
        raise InputError("Depth smoothing needs a map and a mask of float32.")
    if depth.confidence is not None and depth.confidence.shape != shape:
        raise InputError("Depth smoothing needs a confidence of the map's shape.")
    if depth.normal is not None and depth.normal.shape != (*shape, 3):
        raise InputError("Depth smoothing needs one normal for each pixel of the map.")
