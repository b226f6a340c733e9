"""Depth and normals of one network made to agree: depth keeps the large form, normals give the detail.

A network's depth is right on the whole and blurred in the small; its normals see fine relief but drift when
they are integrated. The surface z sought over the crop minimises

    sum c (z - d)^2 + (LENGTH S / 2)^2 sum n_z^2 ((z_j - z_i) - 2 / S (g_i + g_j) / 2)^2

over the pixels i of the head and the pairs of neighbours i, j, with the depth d and its confidence c, and
the slope g along the pair from the normals. That is the linear optimisation of Nehab, Rusinkiewicz, Davis and
Ramamoorthi, "Efficiently combining positions and normals for precise 3D geometry" (SIGGRAPH 2005, section
4), for a height field over parallel rays, where n_z^2 turns the error of a slope into one across the surface;
the second term alone is that of Horn and Brooks ("The variational approach to shape from shading", 1986).
Slopes over a pair are the trapezium rule, exact for paraboloids. Pairs across a step or the head's edge are
left out, so that nothing bleeds. The normal equations are solved by `stream.depth.poisson`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from stream.errors import InputError
from stream.types import Array, Depth

LENGTH = 0.08
"""Crop units (9 mm) per radian: detail of a shorter wave comes from the normals, of a longer from depth."""

STEP_SLOPE = 2.4
"""A pair of pixels whose depth rises by so much more or less than its normals say lies on two surfaces."""

LEAST_FACING = 0.17
"""Normals with a smaller -z (80 degrees from the line of sight) tell no slope."""

LEAST_CONFIDENCE = 0.05

TOLERANCE, MAX_STEPS = 1e-4, 400
"""Conjugate gradients end when the residual has fallen by the first, or after so many steps."""


def fuse_normals(depth: Depth, length: float = LENGTH) -> Depth:
    """The depth with its detail taken from its normals; the other parts stay as they are.

    Unchanged are pixels off the head (mask below one half), those whose depth is not finite, and depth
    without normals as a whole.

    :param length: see `LENGTH`; 0 changes nothing.
    :raises InputError: parts differ in shape, or ``length`` is negative or not finite.
    """
    if depth.normal is None:
        return depth
    _check(depth, length)
    from stream.depth.poisson import relax

    sound = np.isfinite(depth.map) & (depth.mask >= 0.5)
    d = _bordered(np.where(sound, depth.map, 0))
    weight = np.ones_like(depth.map)
    if depth.confidence is not None:
        weight = np.maximum(np.nan_to_num(depth.confidence, nan=0.0), LEAST_CONFIDENCE)
    right, down = _pairs(d, depth.normal, sound, length)
    change = np.zeros(d.shape, np.float32)
    relax(d, _bordered(weight), right.rise, down.rise, right.link, down.link, change, TOLERANCE, MAX_STEPS)
    return replace(depth, map=np.where(sound, depth.map + change[1:-1, 1:-1], depth.map).astype(np.float32))


class _Pairs(NamedTuple):
    """Wanted rise and weight of each pixel's pair with its right or lower neighbour, (S + 2, S + 2)."""

    rise: Array
    link: Array


def _pairs(d: Array, normal: Array, sound: Array, length: float) -> tuple[_Pairs, _Pairs]:
    """Pairs to the right and down; those that are left out have weight 0."""
    size = normal.shape[0]
    normal = np.nan_to_num(normal.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    facing = np.where(sound & (normal[..., 2] < -LEAST_FACING), -normal[..., 2], np.float32(0))
    strength = _bordered(facing * np.float32(length * size / 2))
    result = []
    for part, step in ((0, (0, 1)), (1, (1, 0))):
        slope = _bordered(normal[..., part] / np.where(facing > 0, facing, 1))
        rise = (slope + _next(slope, step)) / np.float32(size)
        joined = np.abs(_next(d, step) - d - rise) < STEP_SLOPE * 2 / size
        # Over the border there is nothing, and so strength 0.
        result.append(_Pairs(rise, np.where(joined, strength * _next(strength, step), np.float32(0))))
    return result[0], result[1]


def _next(values: Array, step: tuple[int, int]) -> Array:
    """The neighbour's value, ``step`` rows down and columns to the right; round at the border of zeros."""
    return np.roll(values, (-step[0], -step[1]), axis=(0, 1))


def _bordered(values: Array) -> Array:
    return np.ascontiguousarray(np.pad(values.astype(np.float32), 1))


def _check(depth: Depth, length: float) -> None:
    shape = depth.map.shape
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2 or depth.mask.shape != shape:
        raise InputError("Fusing needs a square depth map of two pixels or more and a mask of its shape.")
    if depth.normal is None or depth.normal.shape != (*shape, 3):
        raise InputError("Fusing needs one normal for each pixel of the depth map.")
    if depth.confidence is not None and depth.confidence.shape != shape:
        raise InputError("Fusing needs a confidence of the depth map's shape.")
    if not 0 <= length < float("inf"):
        raise InputError(f"The fusing length is {length} but must be finite and 0 or more.")
