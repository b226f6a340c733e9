"""`mesh_quantize` and `mesh_dequantize`: depth maps as the small integers that go over the wire, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream.compute.backends import load_twin
from stream.compute.depth_to_mesh_batch import MASK_THRESHOLD, MAX_MAPS, MAX_SIZE
from stream.compute.dispatch import check_array
from stream.errors import InputError
from stream.types import Array

MIN_BITS, MAX_BITS = 10, 14


@dataclass(frozen=True, slots=True)
class QuantisedPlanes:
    """What `mesh_quantize` gives.

    :ivar planes: (N, 2, S * S) uint8, the low and then the high bytes of all residuals of a map.
    :ivar levels: (N, S, S) uint16 in 0..2^bits - 1, the ``previous`` of the next delta frame.
    """

    planes: Array
    levels: Array


@dataclass(frozen=True, slots=True)
class Steps:
    """How depth becomes levels. The same numbers on both sides of the wire give the same depths.

    :ivar low: depth of level 1, crop units, rounded to float32.
    :ivar step: crop units between levels.
    :ivar scale: levels in one crop unit, float32.
    :ivar top: the highest level.
    """

    low: float
    step: float
    scale: np.float32
    top: int


def mesh_quantize(
    depth: Array, mask: Array, low: float, high: float, bits: int = MAX_BITS, previous: Array | None = None
) -> QuantisedPlanes:
    """Depth maps as levels, predicted, in byte planes that a general compressor makes small.

    A height field needs only its depths: x, y, uv and triangles follow from the grid. A pixel's level is 0
    where there is no surface (the mask is below its threshold or the depth not finite), else

        1 + round((depth - low) / (high - low) * (2^bits - 2)), within 1..2^bits - 1,

    so that depths within low..high come back within half a step (and float32's rounding). With D the levels,
    in a delta frame their change since ``previous``, and 0 outside the map, each pixel is predicted by the
    plane through its neighbours, and what is left is

        D[y, x] - D[y, x-1] - D[y-1, x] + D[y-1, x-1],

    whose sums along rows and columns give D back. This residual is taken modulo 2^bits, wrapped
    to -2^(bits-1)..2^(bits-1) - 1, zigzag coded (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) as unsigned 16 bits,
    and split: a plane of the low bytes of all pixels, then one of the high bytes, which are mostly 0.

    :param depth: (N, S, S) float32 crop units.
    :param mask: (N, S, S) float32 in 0..1; NaN is no surface.
    :param low, high: the depths of levels 1 and 2^bits - 1, crop units.
    :param bits: 10..14.
    :param previous: (N, S, S) uint16, the ``levels`` of the frame before; ``None`` for a key frame.
    :raises InputError: a shape, dtype or value does not fit.
    """
    depth = check_array("depth maps", depth, np.float32, (None, None, None))
    maps, size = depth.shape[:2]
    _check_counts(maps, size)
    shape = (maps, size, size)
    depth = check_array("depth maps", depth, np.float32, shape)
    mask = check_array("masks", mask, np.float32, shape)
    if previous is not None:
        previous = check_array("previous levels", previous, np.uint16, shape)
    steps = steps_of(low, high, bits)
    result = QuantisedPlanes(np.empty((maps, 2, size * size), np.uint8), np.empty(shape, np.uint16))
    load_twin("mesh_quantize", "numba").mesh_quantize(depth, mask, steps, previous, MASK_THRESHOLD, result)
    return result


def mesh_dequantize(
    planes: Array, low: float, high: float, bits: int = MAX_BITS, previous: Array | None = None
) -> tuple[Array, Array]:
    """The depth maps of `mesh_quantize`. Any bytes give levels in range and depths in low..high.

    :param planes: (N, 2, S * S) uint8.
    :param low, high, bits: as they were given to `mesh_quantize`.
    :param previous: (N, S, S) uint16 levels of the frame before, for a delta frame.
    :returns: (N, S, S) float32 depth, NaN where there is no surface, and (N, S, S) uint16 levels.
    :raises InputError: a shape, dtype or value does not fit.
    """
    planes = check_array("planes", planes, np.uint8, (None, 2, None))
    maps, _, pixels = planes.shape
    size = math.isqrt(pixels)
    _check_counts(maps, size)
    if size * size != pixels:
        raise InputError(f"Planes of {pixels} bytes are no square map; the wire's data is damaged.")
    steps = steps_of(low, high, bits)
    if previous is not None:
        previous = check_array("previous levels", previous, np.uint16, (maps, size, size))
    depth, levels = np.empty((maps, size, size), np.float32), np.empty((maps, size, size), np.uint16)
    load_twin("mesh_quantize", "numba").mesh_dequantize(planes, steps, previous, depth, levels)
    return depth, levels


def steps_of(low: float, high: float, bits: int) -> Steps:
    """The steps between two depths.

    :raises InputError: the bits are not 10..14, or the depths not finite and in order.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise InputError(f"Depth cannot be quantised to {bits} bits; choose {MIN_BITS} to {MAX_BITS}.")
    with np.errstate(over="ignore", invalid="ignore"):
        near, far = float(np.float32(low)), float(np.float32(high))
        top = (1 << bits) - 1
        scale = np.float32((top - 1) / (far - near)) if far > near else np.float32(np.inf)
    if not (math.isfinite(near) and math.isfinite(far) and 0 < scale < np.inf):
        raise InputError(f"Depths from {low} to {high} cannot be quantised; low must be less than high.")
    return Steps(near, (far - near) / (top - 1), scale, top)


def _check_counts(maps: int, size: int) -> None:
    if not (1 <= maps <= MAX_MAPS and 1 <= size <= MAX_SIZE):
        raise InputError(
            f"{maps} maps of {size}x{size} pixels are too few or too many; "
            f"there must be 1 to {MAX_MAPS}, of size 1 to {MAX_SIZE}."
        )
