"""A screened Poisson problem on a grid, solved on the CPU; importing this compiles it or loads a cache.

Minimises, over z, the sum of weight (z - depth)^2 over all pixels and of link (z_neighbour - z - rise)^2 over
all pairs of neighbours.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled
from stream.types import Array

_FASTMATH = {"reassoc", "contract"}
"""Sums may be reordered, which lets them run in parallel lanes; checks for NaN stay."""

_grid = types.Array(types.float32, 2, "C")
_inline = numba.njit(nogil=True, error_model="numpy", fastmath=_FASTMATH)


@_inline
def _multiply(weight: Array, right: Array, down: Array, z: Array, out: Array) -> float:
    """``out`` = A z on the inside of grids with a border of one pixel; returns z.A z."""
    total = 0.0
    for i in range(1, z.shape[0] - 1):
        row: Any = np.float32(0)
        for j in range(1, z.shape[1] - 1):
            here = z[i, j]
            value = weight[i, j] * here
            value += right[i, j] * (here - z[i, j + 1]) + right[i, j - 1] * (here - z[i, j - 1])
            value += down[i, j] * (here - z[i + 1, j]) + down[i - 1, j] * (here - z[i - 1, j])
            out[i, j] = value
            row += here * value
        total += row
    return total


@_inline
def _start(
    depth: Array, rise_x: Array, rise_y: Array, right: Array, down: Array, residual: Array, inverse: Array
) -> None:
    """The residual of z = depth, and the inverse of A's diagonal (which holds the weights before)."""
    for i in range(1, depth.shape[0] - 1):
        for j in range(1, depth.shape[1] - 1):
            here = depth[i, j]
            pull = right[i, j - 1] * (rise_x[i, j - 1] - (here - depth[i, j - 1]))
            pull -= right[i, j] * (rise_x[i, j] - (depth[i, j + 1] - here))
            pull += down[i - 1, j] * (rise_y[i - 1, j] - (here - depth[i - 1, j]))
            pull -= down[i, j] * (rise_y[i, j] - (depth[i + 1, j] - here))
            residual[i, j] = pull
            diagonal = inverse[i, j] + right[i, j] + right[i, j - 1] + down[i, j] + down[i - 1, j]
            inverse[i, j] = np.float32(1) / diagonal


@_inline
def _descend(
    alpha: float, way: Array, product: Array, inverse: Array, change: Array, residual: Array
) -> float:
    """One step along ``way``; returns the new residual's size in the preconditioner's norm."""
    step = np.float32(alpha)
    total = 0.0
    for i in range(1, way.shape[0] - 1):
        row: Any = np.float32(0)
        for j in range(1, way.shape[1] - 1):
            change[i, j] += step * way[i, j]
            rest = residual[i, j] - step * product[i, j]
            residual[i, j] = rest
            row += rest * rest * inverse[i, j]
        total += row
    return total


@compiled(types.int64(*[_grid] * 7, types.float64, types.int64), fastmath=_FASTMATH)
def relax(
    depth: Array,
    weight: Array,
    rise_x: Array,
    rise_y: Array,
    right: Array,
    down: Array,
    change: Array,
    tolerance: float,
    steps: int,
) -> int:
    """Conjugate gradients with Jacobi's preconditioner (Hestenes and Stiefel 1952), from z = depth.

    All grids are (S + 2, S + 2) float32, C-contiguous and finite, with a border of zeros.

    :param weight: above 0 inside the border.
    :param rise_x, right: wanted rise and link of each pixel's pair with the one on its right.
    :param rise_y, down: the same for the pixel below.
    :param change: zeros; becomes z - depth.
    :param tolerance: stop when the residual, in the preconditioner's norm, has fallen by this factor.
    :returns: steps taken, at most ``steps``.
    """
    residual, product = np.zeros_like(depth), np.zeros_like(depth)
    inverse = weight.copy()
    _start(depth, rise_x, rise_y, right, down, residual, inverse)
    way = residual * inverse
    power = 0.0
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            power += residual[i, j] * way[i, j]
    least = power * tolerance * tolerance
    for count in range(steps):
        if not power > least:
            return count
        alpha = power / _multiply(weight, right, down, way, product)
        new = _descend(alpha, way, product, inverse, change, residual)
        beta = np.float32(new / power)
        power = new
        for i in range(1, depth.shape[0] - 1):
            for j in range(1, depth.shape[1] - 1):
                way[i, j] = residual[i, j] * inverse[i, j] + beta * way[i, j]
    return steps
