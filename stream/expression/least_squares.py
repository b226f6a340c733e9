"""Sums and eliminations of a least squares problem with some 80 unknowns, on the calling thread alone.

NumPy would hand them to a BLAS that wakes a thread for each core, which takes several times as long where the
cores have other work, as in a live chain.
"""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled
from stream.types import Array

_matrix = types.Array(types.float64, 2, "C")
_vector = types.Array(types.float64, 1, "C")


@compiled(
    types.void(types.Array(types.float32, 3, "C"), types.Array(types.float32, 2, "C"), _matrix, _vector),
    fastmath={"reassoc", "contract", "nsz"},
)
def add_up(rows: Array, target: Array, normal: Array, pull: Array) -> None:
    """Fill the normal equations of ``rows`` (A, N, P) float32: sums over A axes of P points.

    :param target: (A, P) float32, what the rows are to add up to.
    :param normal: (N, N) float64; ``pull`` (N,) float64. Both are overwritten.
    """
    normal[:], pull[:] = 0.0, 0.0
    points = rows.shape[2]
    for axis in range(rows.shape[0]):
        wanted = target[axis]
        for i in range(rows.shape[1]):
            one = rows[axis, i]
            total = np.float32(0)
            for p in range(points):
                total += one[p] * wanted[p]
            pull[i] += total
            for j in range(i + 1):
                other = rows[axis, j]
                total = np.float32(0)
                for p in range(points):
                    total += one[p] * other[p]
                normal[i, j] += total
    for i in range(rows.shape[1]):
        for j in range(i):
            normal[j, i] = normal[i, j]


@compiled(types.void(_matrix, _vector))
def factorise(matrix: Array, right: Array) -> None:
    """Replace a positive definite ``matrix`` (N, N) by its Cholesky factor L, below and on the diagonal.

    :param right: (N,), replaced by L^-1 ``right``. A pivot that rounding made negative counts as tiny.
    """
    count = len(matrix)
    for j in range(count):
        pivot = np.sqrt(max(matrix[j, j], 1e-12))
        matrix[j, j] = pivot
        right[j] /= pivot
        for i in range(j + 1, count):
            matrix[i, j] /= pivot
            right[i] -= matrix[i, j] * right[j]
        for i in range(j + 1, count):
            share = matrix[i, j]
            for k in range(j + 1, i + 1):
                matrix[i, k] -= share * matrix[k, j]
    for i in range(count):
        for k in range(i + 1, count):
            matrix[i, k] = 0.0


@compiled(types.void(_matrix, _vector, types.int64))
def eliminate(normal: Array, pull: Array, count: int) -> None:
    """Take the first ``count`` unknowns out of the normal equations, in place (Schur's complement).

    Rows, columns and entries from ``count`` on then are the equations of the other unknowns.

    :param normal: (N, N) symmetric, positive definite in its first ``count``; ``pull`` (N,).
    """
    size = len(normal)
    for k in range(count):
        inverse = 1.0 / max(normal[k, k], 1e-12)
        for i in range(k + 1, size):
            share = normal[i, k] * inverse
            pull[i] -= share * pull[k]
            for j in range(k + 1, i + 1):
                normal[i, j] -= share * normal[j, k]
    for i in range(count, size):
        for j in range(count, i):
            normal[j, i] = normal[i, j]


@compiled(types.void(_matrix, _vector))
def solve(matrix: Array, right: Array) -> None:
    """Replace ``right`` (N,) by the solution; the positive definite ``matrix`` (N, N) is overwritten."""
    factorise(matrix, right)
    for i in range(len(matrix) - 1, -1, -1):
        for k in range(i + 1, len(matrix)):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
