"""`resize_maps`: a depth network's maps, repaired and read at another side."""

from __future__ import annotations

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
from stream.errors import InputError


@dataclass(frozen=True, slots=True)
class DepthMaps:
    """N faces' maps, all on the host or all on the device.

    :ivar depth: (N, S, S) float32 crop units.
    :ivar mask: (N, S, S) float32, probability of head.
    :ivar confidence: (N, S, S) float32, how sure the depth is; or ``None``.
    """

    depth: ComputeArray
    mask: ComputeArray
    confidence: ComputeArray | None = None

    def first(self, count: int) -> DepthMaps:
        """Those of the first so many faces, in the same memory."""
        confidence = None if self.confidence is None else self.confidence[:count]
        return DepthMaps(self.depth[:count], self.mask[:count], confidence)

    def arrays(self) -> list[Any]:
        """Its three arrays, ``None`` where there is none."""
        return [getattr(self, field.name) for field in fields(self)]


def depth_maps(maps: int, size: int, confidence: bool, device: bool = False) -> DepthMaps:
    """Uninitialised maps; on the current driver's device, or on the host.

    :raises InputError: there is no map, or too many, or the size is not within 1..2048.
    :raises BackendError: there is no driver, or its memory is full.
    """
    check_counts(maps, size)
    empty: Callable[..., ComputeArray] = device_empty if device else np.empty
    return DepthMaps(*(empty((maps, size, size), np.float32) for _ in range(3 if confidence else 2)))


def resize_maps(
    maps: DepthMaps,
    side: int,
    out: DepthMaps | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> DepthMaps:
    """What a network gave, finite, within 0..1 where that is meant, and at another side.

    A pixel where one of the maps is not finite becomes 0 in all. Masks and confidences are read linearly
    between their pixels' centres, and so is the depth, but where the maps become larger: there by cubic
    convolution (Keys 1981, a = -1/2), as `stream.depth.maps.resized_surface` says why.

    :param maps: of S x S pixels.
    :param side: of the result.
    :param out: buffers of `depth_maps` to write to, with a confidence where there is one.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; maps on the device are read there.
    :returns: ``out`` where it was given.
    :raises InputError: a shape or dtype does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    backend = chosen_backend(compute, *maps.arrays(), *(() if out is None else out.arrays()))
    maps = check_maps_of("map", maps)
    count, sure = maps.depth.shape[0], maps.confidence is not None
    if out is not None:
        out = check_out_of(out, count, side, sure)
    kernel = load_twin("resize_maps", backend).resize_maps
    if backend == "numba":
        result = out or depth_maps(count, side, sure)
        kernel(maps, result, None)
        return result
    queue = current_driver().default_stream if stream is None else stream
    there = out if out is not None and is_device(maps.depth) else depth_maps(count, side, sure, device=True)
    moved = (None if array is None else on_device(array, queue) for array in maps.arrays())
    kernel(DepthMaps(*moved), there, queue)
    if is_device(maps.depth):
        return there
    targets = [None] * 3 if out is None else out.arrays()
    pairs = zip(there.arrays(), targets, strict=True)
    return DepthMaps(*(None if one is None else on_host(one, target, queue) for one, target in pairs))


def check_maps_of(name: str, maps: DepthMaps) -> DepthMaps:
    """The same maps, once they are float32 squares of one size.

    :raises InputError: they are not.
    """
    depth = check_array(f"depth {name}s", maps.depth, np.float32, (None, None, None))
    check_counts(*depth.shape[:2])
    shape = (*depth.shape[:2], depth.shape[1])
    return DepthMaps(
        *(
            None if array is None else check_array(f"{field.name} {name}s", array, np.float32, shape)
            for field, array in zip(fields(maps), maps.arrays(), strict=True)
        )
    )


def check_out_of(out: DepthMaps, maps: int, size: int, sure: bool) -> DepthMaps:
    """The same buffers, once they fit.

    :raises InputError: they do not.
    """
    if (out.confidence is not None) != sure:
        raise InputError("The buffer confidence must be there where the maps have one, and only there.")
    return DepthMaps(
        *(
            None if array is None else check_out(field.name, array, np.float32, (maps, size, size))
            for field, array in zip(fields(out), out.arrays(), strict=True)
        )
    )
