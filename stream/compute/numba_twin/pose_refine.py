"""The search for a head's pose by perspective-n-point, for `stream.face.pose`; on the CPU only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

STEPS = 30

_table = types.Array(types.float64, 2, "C", readonly=True)
_row = types.Array(types.float64, 1, "C", readonly=True)


@inline
def _cost(points: Array, pixels: Array, weights: Array, matrix: Array, turn: Array, place: Array) -> Any:
    """Sum of the squares of the weighted reprojection errors, pixels."""
    total = 0.0
    for n in range(len(points)):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        z = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c + place[2]
        scale = 1 / z if z != 0 else 1.0
        x = (turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c + place[0]) * scale
        y = (turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c + place[1]) * scale
        right = matrix[0, 0] * x + matrix[0, 2] - pixels[n, 0]
        down = matrix[1, 1] * y + matrix[1, 2] - pixels[n, 1]
        total += weights[n] ** 2 * (right * right + down * down)
    return total


@inline
def _linearise(
    points: Array,
    pixels: Array,
    weights: Array,
    matrix: Array,
    turn: Array,
    place: Array,
    normal: Array,
    gradient: Array,
) -> None:
    """Normal matrix (6, 6), its lower half, and gradient (6,) of a small turn on top and a shift."""
    normal[:], gradient[:] = 0.0, 0.0
    rows = np.empty((2, 6))
    for n in range(len(points)):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        p = turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c
        q = turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c
        r = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c
        z = r + place[2]
        scale = 1 / z if z != 0 else 1.0
        x, y = (p + place[0]) * scale, (q + place[1]) * scale
        fx, fy = weights[n] * matrix[0, 0] * scale, weights[n] * matrix[1, 1] * scale
        # d(turned point) = w x (p, q, r)
        rows[0, 0], rows[0, 1], rows[0, 2] = -fx * x * q, fx * (r + x * p), -fx * q
        rows[1, 0], rows[1, 1], rows[1, 2] = -fy * (r + y * q), fy * y * p, fy * p
        rows[0, 3], rows[0, 4], rows[0, 5] = fx, 0.0, -fx * x
        rows[1, 3], rows[1, 4], rows[1, 5] = 0.0, fy, -fy * y
        error_x = weights[n] * (matrix[0, 0] * x + matrix[0, 2] - pixels[n, 0])
        error_y = weights[n] * (matrix[1, 1] * y + matrix[1, 2] - pixels[n, 1])
        for i in range(6):
            gradient[i] += rows[0, i] * error_x + rows[1, i] * error_y
            for j in range(i + 1):
                normal[i, j] += rows[0, i] * rows[0, j] + rows[1, i] * rows[1, j]


@inline
def _solve(normal: Array, damping: float, gradient: Array, step: Array) -> bool:
    """The step of the damped normal equations, by Cholesky's method; False where they have none."""
    lower = np.empty((6, 6))
    for i in range(6):
        for j in range(i + 1):
            value = normal[i, j]
            if i == j:
                value += damping * value + 1e-12
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            if i != j:
                lower[i, j] = value / lower[j, j]
            elif value > 0:
                lower[i, i] = np.sqrt(value)
            else:
                return False
    for i in range(6):
        step[i] = gradient[i]
        for k in range(i):
            step[i] -= lower[i, k] * step[k]
        step[i] /= lower[i, i]
    for i in range(5, -1, -1):
        for k in range(i + 1, 6):
            step[i] -= lower[k, i] * step[k]
        step[i] /= lower[i, i]
    return True


@inline
def _turned(step: Array, turn: Array, out: Array) -> None:
    """Turn by minus the first three of ``step``, a rotation vector: Rodrigues' formula."""
    angle = np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    x, y, z = (-step[0] / angle, -step[1] / angle, -step[2] / angle) if angle > 0 else (1.0, 0.0, 0.0)
    c, s = np.cos(angle), np.sin(angle)
    t = 1 - c
    for j in range(3):
        p, q, r = turn[0, j], turn[1, j], turn[2, j]
        along = t * (x * p + y * q + z * r)
        out[0, j] = c * p + s * (y * r - z * q) + along * x
        out[1, j] = c * q + s * (z * p - x * r) + along * y
        out[2, j] = c * r + s * (x * q - y * p) + along * z


@compiled(
    types.float64(
        _table, _table, _row, _table, types.Array(types.float64, 2, "C"), types.Array(types.float64, 1, "C")
    )
)
def refine(points: Array, pixels: Array, weights: Array, matrix: Array, turn: Array, place: Array) -> float:
    """Weighted Levenberg-Marquardt on the reprojection error, from ``turn`` and ``place``, which it changes.

    :param points: (N, 3) of the head; ``pixels`` (N, 2) where they are seen; ``weights`` (N,) of each.
    :param matrix: (3, 3) of the camera.
    :param turn, place: (3, 3) and (3,), head to camera.
    :return: `weighted_cost` at the end.
    """
    cost, damping = _cost(points, pixels, weights, matrix, turn, place), 1e-4
    normal, gradient, step = np.empty((6, 6)), np.empty(6), np.empty(6)
    turned, moved = np.empty((3, 3)), np.empty(3)
    fresh = True
    for _ in range(STEPS):
        if fresh:
            _linearise(points, pixels, weights, matrix, turn, place, normal, gradient)
        if not _solve(normal, damping, gradient, step) or damping > 1e6:
            break
        _turned(step, turn, turned)
        for k in range(3):
            moved[k] = place[k] - step[3 + k]
        trial = _cost(points, pixels, weights, matrix, turned, moved)
        fresh = trial < cost
        if not fresh:
            damping *= 10
            continue
        converged = cost - trial < 1e-9 * trial
        turn[:], place[:], cost = turned, moved, trial
        damping = max(damping / 10, 1e-9)
        if converged:
            break
    return cost


@compiled(types.float64(_table, _table, _row, _table, _table, _row))
def weighted_cost(
    points: Array, pixels: Array, weights: Array, matrix: Array, turn: Array, place: Array
) -> float:
    """Sum of the squares of the weighted reprojection errors, pixels."""
    return float(_cost(points, pixels, weights, matrix, turn, place))
