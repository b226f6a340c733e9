"""Temporal smoothing and levelling of a depth map on the CPU."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled
from stream.types import Array


@compiled(
    types.void(
        types.Array(types.float32, 2, "C", readonly=True),
        types.Array(types.float32, 2, "C"),
        types.Array(types.float32, 2, "A", readonly=True),
        types.float32,
    )
)
def smooth(depth: Array, past: Array, keep: Array, inverse_change: float) -> None:
    """Replace ``past`` by ``depth`` drawn to it, as `stream.compute.depth_to_mesh_batch.Smoothing` says."""
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            now, before = depth[i, j], past[i, j]
            change = (now - before) * inverse_change
            rest = np.float32(1) - change * change
            weight = rest * rest if rest > np.float32(0) else np.float32(0)
            mixed = now + keep[i, j] * weight * (before - now)
            past[i, j] = mixed if np.isfinite(mixed) else now


@compiled(
    types.Array(types.float32, 2, "C")(
        types.Array(types.float32, 2, "C", readonly=True), types.float32, types.float32, types.float32
    )
)
def untilted(depth: Array, across: float, down: float, offset: float) -> Array:
    """A map without a plane, as `stream.compute.grid_views.grid_views` says."""
    level = np.empty_like(depth)
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            level[i, j] = depth[i, j] - (across * np.float32(j) + down * np.float32(i) + offset)
    return level
