"""`smooth_depth`: depth maps drawn to their past wherever nothing moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.depth_to_mesh_batch import check_counts
from stream.compute.dispatch import (
    ComputeArray,
    check_array,
    check_out,
    chosen_backend,
    device_empty,
    is_device,
    on_device,
    on_host,
)
from stream.compute.resize_maps import DepthMaps, check_maps_of
from stream.errors import InputError
from stream.types import Array

TIME_CONSTANT = 0.25
"""Seconds over which a still surface is averaged."""

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
class SmoothMaps:
    """N faces' smoothed maps, and what is remembered of them beside; all on the host or all on the device.

    :ivar depth, mask: (N, S, S) float32, as `DepthMaps`; NaN where a face has no past yet.
    :ivar drift: (N, S, S) float32, low-passed mean over a patch of what the network says beyond the past.
    :ivar confidence: (N, S, S) float32 or ``None``.
    :ivar keep: (N, S, S) float32, by how much each pixel's depth was drawn to its past.
    :ivar level: (N, S, S) float32, the depth without its tilt; ``None`` where it is not wanted.
    :ivar changes: (N, S, S) float32 for the kernel alone; ``None`` on the host.
    """

    depth: ComputeArray
    mask: ComputeArray
    drift: ComputeArray
    confidence: ComputeArray | None = None
    keep: ComputeArray | None = None
    level: ComputeArray | None = None
    changes: ComputeArray | None = None

    def first(self, count: int) -> SmoothMaps:
        """Those of the first so many faces, in the same memory."""
        return SmoothMaps(*(None if array is None else array[:count] for array in self.arrays()))

    def arrays(self) -> list[Any]:
        """All its arrays, ``None`` where there is none."""
        return [getattr(self, field.name) for field in fields(self)]


def smooth_buffers(
    maps: int, size: int, confidence: bool, level: bool = False, device: bool = False
) -> SmoothMaps:
    """Uninitialised maps; on the current driver's device, or on the host.

    :raises InputError: there is no map, or too many, or the size is not within 1..2048.
    :raises BackendError: there is no driver, or its memory is full.
    """
    check_counts(maps, size)
    empty: Callable[..., ComputeArray] = device_empty if device else np.empty
    wanted = {"confidence": confidence, "level": level, "changes": device}
    return SmoothMaps(
        *(
            empty((maps, size, size), np.float32) if wanted.get(field.name, True) else None
            for field in fields(SmoothMaps)
        )
    )


def smoothing_rates(step: float) -> Array:
    """(3,) float32: how far a drift goes in ``step`` seconds, and what depth and mask keep at most, 0..1."""
    return np.array(
        [-math.expm1(-step / DRIFT_SECONDS), math.exp(-step / TIME_CONSTANT), math.exp(-step / MASK_SECONDS)],
        np.float32,
    )


def patch_side(size: int) -> int:
    """Pixels of a patch's side."""
    return max(3, round(size * PATCH))


def smooth_depth(
    new: DepthMaps,
    past: SmoothMaps,
    still: ComputeArray,
    rates: ComputeArray,
    tilt: ComputeArray | None = None,
    out: SmoothMaps | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> SmoothMaps:
    """Each pixel's depth moves from its past towards its new value by 1 - k.

    k is its rate times three weights, each 1 where there is no sign of motion and 0 where there is a clear
    one, by Tukey's biweight (1 - u^2)^2:

    * the picture, ``still``: depth is a function of the picture alone, so where the crop looks as it did, a
      change of depth is noise (`stream.depth.stillness`);
    * the patch: noise has no memory and little mean, so a change that stays is motion (`DRIFT`);
    * the pixel: nothing but motion changes a pixel by `DEPTH_CHANGE` at once.

    The bilateral filter of Tomasi and Manduchi (ICCV 1998) with time for space, made recursive, and guided
    by the picture as in the joint filter of Petschnigg et al. (SIGGRAPH 2004).
    The confidence moves with the depth; the mask has its own change. A pixel that is not finite, now or
    before, neither keeps its past nor has a say later.

    On the device nothing is waited for, and with ``out`` there nothing is allocated.

    :param new: what the network says now, of S x S pixels.
    :param past: depth, mask, drift and confidence of the last result.
    :param still: (N, S, S) float32, how still the picture is, 0..1.
    :param rates: (N, 3) float32 of `smoothing_rates`.
    :param tilt: (N, 3) float32 planes over pixels, crop units: p0 j + p1 i + p2 at column j and row i
        (`stream.depth.sight.sight_plane`), to be taken from the depth in ``level``.
    :param out: buffers to write to, of `smooth_buffers`; it may be ``past``.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; maps on the device are smoothed there.
    :returns: ``out`` where it was given.
    :raises InputError: a shape or dtype does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    given = [*new.arrays(), *past.arrays(), still, rates, tilt, *([] if out is None else out.arrays())]
    backend = chosen_backend(compute, *given)
    new = check_maps_of("map", new)
    maps, size = new.depth.shape[:2]
    sure = new.confidence is not None
    past = _checked(past, maps, size, sure, check_array)
    still = check_array("stillness", still, np.float32, (maps, size, size))
    rates = check_array("rates", rates, np.float32, (maps, 3))
    if tilt is not None:
        tilt = check_array("tilt", tilt, np.float32, (maps, 3))
    device = is_device(new.depth)
    if out is not None:
        out = _checked(out, maps, size, sure, check_out)
        complete = out.keep is not None and (out.level is not None) == (tilt is not None)
        if not complete or (device and out.changes is None):
            raise InputError("The buffers do not fit; make them with smooth_buffers.")
    kernel = load_twin("smooth_depth", backend).smooth_depth
    if backend == "numba":
        result = out or smooth_buffers(maps, size, sure, tilt is not None)
        kernel(new, past, still, rates, tilt, result, None)
        return result
    queue = current_driver().default_stream if stream is None else stream
    there = out if out is not None and device else smooth_buffers(maps, size, sure, tilt is not None, True)

    def moved(arrays: list[Any]) -> list[Any]:
        return [None if array is None else on_device(array, queue) for array in arrays]

    before = SmoothMaps(*moved(past.arrays()))
    kernel(DepthMaps(*moved(new.arrays())), before, *moved([still, rates, tilt]), there, queue)
    if device:
        return there
    made = there.arrays()[:-1]  # the last is the kernel's own
    targets = [None] * len(made) if out is None else out.arrays()
    pairs = zip(made, targets, strict=False)
    return SmoothMaps(*(None if one is None else on_host(one, target, queue) for one, target in pairs))


def _checked(
    maps: SmoothMaps, count: int, size: int, sure: bool, check: Callable[..., ComputeArray]
) -> SmoothMaps:
    if (maps.confidence is not None) != sure:
        raise InputError("Past and buffers must have a confidence where the maps do, and only there.")
    return SmoothMaps(
        *(
            None if array is None else check(field.name, array, np.float32, (count, size, size))
            for field, array in zip(fields(maps), maps.arrays(), strict=True)
        )
    )
