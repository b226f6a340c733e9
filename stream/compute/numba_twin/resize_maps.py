"""`resize_maps` on the CPU."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.compute.resize_maps import DepthMaps
from stream.types import Array


def resize_maps(maps: DepthMaps, out: DepthMaps, stream: None) -> None:
    """Fill ``out``, one map after another (`stream.compute.resize_maps`)."""
    pairs = [pair for pair in zip(maps.arrays(), out.arrays(), strict=True) if pair[0] is not None]
    finite = np.logical_and.reduce([np.isfinite(array) for array, _ in pairs])
    for number, (array, target) in enumerate(pairs):
        whole = np.where(finite, array, np.float32(0))
        if number > 0:
            whole = np.clip(whole, 0, 1)
        for n, one in enumerate(whole):
            resize_map(one, number == 0, target[n])


@inline
def _taps(size: int, side: int, cubic: bool, first: Array, weights: Array) -> None:
    """For each of ``side`` pixels the first of the four of ``size`` pixels it takes, and of each how much."""
    for index in range(side):
        place = (index + 0.5) * size / side - 0.5
        before = np.floor(place)
        first[index] = int(before) - 1
        for tap in range(4):
            x = abs(place - (before - 1 + tap))
            weight = max(1 - x, 0.0)
            if cubic:
                near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
                weight = near if x <= 1 else (far if x < 2 else 0.0)
            weights[index, tap] = weight


@compiled(
    types.void(
        types.Array(types.float32, 2, "C", readonly=True),
        types.boolean,
        types.Array(types.float32, 2, "C"),
    )
)
def resize_map(values: Array, smooth: bool, out: Array) -> None:
    """A map read at ``out``'s side; with ``smooth`` by cubic convolution where that is larger."""
    size, side = len(values), len(out)
    first, weights = np.empty(side, np.int64), np.empty((side, 4), np.float32)
    _taps(size, side, smooth and side > size, first, weights)
    rows = np.zeros((size, side), np.float32)
    for i in range(size):
        for j in range(side):
            for tap in range(4):
                if weights[j, tap] != 0:
                    rows[i, j] += weights[j, tap] * values[i, min(max(first[j] + tap, 0), size - 1)]
    out[:] = 0
    for i in range(side):
        for tap in range(4):
            share = weights[i, tap]
            if share != 0:
                row = rows[min(max(first[i] + tap, 0), size - 1)]
                for j in range(side):
                    out[i, j] += share * row[j]
