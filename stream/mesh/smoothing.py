"""Temporal smoothing of depth maps: still surfaces calm down, moving ones are followed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from stream.errors import InputError
from stream.mesh.stillness import PICTURE_SIDE, Seen, biweight, grey_picture, how_still
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
    """Smoothing in time of each track's depth, in the frame of its crop, wherever nothing moves.

    Each pixel moves from its smoothed past towards its new value by 1 - k, with
    k = exp(-dt / `TIME_CONSTANT`) times three weights, each 1 where there is no sign of motion and 0 where
    there is a clear one, by Tukey's biweight (1 - u^2)^2:

    * the picture: depth is a function of the picture alone, so where the crop looks as it did, a change
      of depth is noise (`stream.mesh.stillness`);
    * the patch: noise has no memory and little mean, so a change that stays is motion (`DRIFT`);
    * the pixel: nothing but motion changes a pixel by `DEPTH_CHANGE` at once.

    The bilateral filter of Tomasi and Manduchi (ICCV 1998) with time for space, made recursive, and guided
    by the picture as in the joint filter of Petschnigg et al. (SIGGRAPH 2004). Confidence and normals move
    with the depth; the mask has its own change. The crop moves with the face, so motion of the head as a
    whole needs no compensation. What it achieves is measured by `prosopon eval jitter`.

    Not for use from two threads at once.
    """

    def __init__(self) -> None:
        self._pasts: dict[int, _Past] = {}

    def __call__(self, track_id: int, seconds: float, depth: Depth, picture: Array) -> Depth:
        """Smooth one track's next depth.

        The past is dropped on a new track, a gap of more than `MAX_GAP`, a clock that does not advance,
        another size or other parts; the depth then passes unchanged.

        :param seconds: when the frame was taken.
        :param picture: (`PICTURE_SIDE`, `PICTURE_SIDE`, 3) uint8 RGB of the crop.
        :raises InputError: parts differ in shape, the time is not finite or the picture of another kind.
        """
        _check(seconds, depth, picture)
        self._forget(seconds)
        grey = grey_picture(picture)
        past = self._pasts.get(track_id)
        if past is not None and seconds > past.seconds and _alike(past.depth, depth):
            new = _follow(past, seconds, depth, grey)
        else:
            new = _Past(seconds, depth, np.zeros_like(depth.map), Seen(grey))
        self._pasts[track_id] = new
        return new.depth

    def _forget(self, seconds: float) -> None:
        gone = [track for track, past in self._pasts.items() if seconds - past.seconds > MAX_GAP]
        for track in gone:
            del self._pasts[track]


def _follow(past: _Past, seconds: float, depth: Depth, grey: Array) -> _Past:
    """The next state of a track."""
    step = seconds - past.seconds
    head = np.minimum(past.depth.mask, depth.mask)
    still, seen = how_still(past.seen, grey, head, step)
    with np.errstate(invalid="ignore", over="ignore"):
        change = depth.map - past.depth.map
        sound = np.isfinite(change) & np.isfinite(head)
    drift = past.drift + np.float32(-math.expm1(-step / DRIFT_SECONDS)) * (
        _patch_mean(np.where(sound, change, np.float32(0)), np.where(sound, head, np.float32(0))) - past.drift
    )
    calm = cv2.resize(still, change.shape[::-1]) * biweight(drift, DRIFT) * biweight(change, DEPTH_CHANGE)
    # A pixel that is not finite neither keeps its past nor has a say later.
    calm[~sound] = 0
    keep = calm * np.float32(math.exp(-step / TIME_CONSTANT))
    smooth = Depth(
        map=_toward(depth.map, past.depth.map, keep),
        mask=_smooth_mask(past.depth.mask, depth.mask, step),
        confidence=_part(past.depth.confidence, depth.confidence, keep),
        normal=_smooth_normal(past.depth.normal, depth.normal, keep),
    )
    return _Past(seconds, smooth, drift * calm, seen)


def _patch_mean(change: Array, head: Array) -> Array:
    """(S, S) mean over a patch around each pixel of the change, 0 off the head, single pixels limited."""
    side = max(3, round(change.shape[0] * PATCH))
    return np.asarray(cv2.blur(np.clip(change, -DEPTH_CHANGE, DEPTH_CHANGE) * head, (side, side)))


def _toward(new: Array, past: Array, keep: Array) -> Array:
    """``new`` drawn to ``past`` by ``keep``; ``new`` itself where one of them is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = new + keep * (past - new)
        return np.where(np.isfinite(mixed), mixed, new)


def _smooth_mask(past: Array, new: Array, step: float) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        keep = biweight(new - past, MASK_CHANGE) * np.float32(math.exp(-step / MASK_SECONDS))
    return _toward(new, past, keep)


def _part(past: Array | None, new: Array | None, keep: Array) -> Array | None:
    return None if past is None or new is None else _toward(new, past, keep)


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


def _check(seconds: float, depth: Depth, picture: Array) -> None:
    shape = depth.map.shape
    if depth.mask.shape != shape or len(shape) != 2 or not math.isfinite(seconds):
        raise InputError("Depth smoothing needs a map and a mask of the same shape and a finite time.")
    if depth.confidence is not None and depth.confidence.shape != shape:
        raise InputError("Depth smoothing needs a confidence of the map's shape.")
    if depth.normal is not None and depth.normal.shape != (*shape, 3):
        raise InputError("Depth smoothing needs one normal for each pixel of the map.")
    if picture.shape != (PICTURE_SIDE, PICTURE_SIDE, 3) or picture.dtype != np.uint8:
        raise InputError(
            f"Depth smoothing needs a uint8 picture of {PICTURE_SIDE}x{PICTURE_SIDE} pixels of the crop."
        )
