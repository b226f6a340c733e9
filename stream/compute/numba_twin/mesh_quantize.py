"""`mesh_quantize` and `mesh_dequantize` on the CPU."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.mesh_quantize import QuantisedPlanes, Steps
from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

_maps = types.Array(types.float32, 3, "A", readonly=True)
_given = types.Array(types.uint16, 3, "A", readonly=True)
_planes = types.Array(types.uint8, 3, "A", readonly=True)


@inline
def _change(key: bool, previous: Array, levels: Array, n: int, i: int, j: int) -> np.int64:
    """The level at a pixel, less the previous one in a delta frame; 0 above the map."""
    if i < 0:
        return np.int64(0)
    return np.int64(levels[n, i, j]) if key else np.int64(levels[n, i, j]) - np.int64(previous[n, i, j])


@compiled(
    types.void(
        _maps,
        _maps,
        types.float32,
        types.float32,
        types.int64,
        types.float64,
        types.boolean,
        _given,
        types.Array(types.uint8, 3, "C"),
        types.Array(types.uint16, 3, "C"),
    )
)
def _quantize(
    depth: Array,
    mask: Array,
    low: float,
    scale: float,
    top: int,
    mask_threshold: float,
    key: bool,
    previous: Array,
    planes: Array,
    levels: Array,
) -> None:
    half = (top + 1) // 2
    for n in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            left = np.int64(0)
            for j in range(depth.shape[2]):
                level = 0
                # Comparisons with NaN are false, so a NaN in the mask is no surface.
                if mask[n, i, j] >= mask_threshold and np.isfinite(depth[n, i, j]):
                    step = (depth[n, i, j] - low) * scale
                    level = 1 + int(np.rint(min(max(step, np.float32(0)), np.float32(top - 1))))
                levels[n, i, j] = level
                step_down = _change(key, previous, levels, n, i, j) - _change(
                    key, previous, levels, n, i - 1, j
                )
                residual = ((step_down - left + half) & top) - half
                left = step_down
                code = -2 * residual - 1 if residual < 0 else 2 * residual
                pixel = i * depth.shape[2] + j
                planes[n, 0, pixel], planes[n, 1, pixel] = code & 255, code >> 8


@compiled(
    types.void(
        _planes,
        types.float64,
        types.float64,
        types.int64,
        types.boolean,
        _given,
        types.Array(types.float32, 3, "C"),
        types.Array(types.uint16, 3, "C"),
    )
)
def _dequantize(
    planes: Array,
    low: float,
    step: float,
    top: int,
    key: bool,
    previous: Array,
    depth: Array,
    levels: Array,
) -> None:
    for n in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            step_down = np.int64(0)
            for j in range(depth.shape[2]):
                pixel = i * depth.shape[2] + j
                code = np.int64(planes[n, 0, pixel]) | np.int64(planes[n, 1, pixel]) << 8
                step_down += -(code + 1) // 2 if code & 1 else code // 2
                before = np.int64(0) if key else np.int64(previous[n, i, j])
                level = (before + _change(key, previous, levels, n, i - 1, j) + step_down) & top
                levels[n, i, j] = level
                depth[n, i, j] = low + (level - 1) * step if level > 0 else np.nan


def mesh_quantize(
    depth: Array,
    mask: Array,
    steps: Steps,
    previous: Array | None,
    mask_threshold: float,
    out: QuantisedPlanes,
) -> None:
    """Fill ``out`` (`stream.compute.mesh_quantize`)."""
    given = out.levels if previous is None else previous
    limits = (np.float32(steps.low), steps.scale, steps.top, mask_threshold)
    _quantize(depth, mask, *limits, previous is None, given, out.planes, out.levels)


def mesh_dequantize(planes: Array, steps: Steps, previous: Array | None, depth: Array, levels: Array) -> None:
    """Fill the last two arrays (`stream.compute.mesh_quantize`)."""
    given = levels if previous is None else previous
    _dequantize(planes, steps.low, steps.step, steps.top, previous is None, given, depth, levels)
