"""`expression_solve` on the CPU: sums and solve in float64, so that one pass over the points is enough."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

ROWS = 48
"""Rows (a point's x, y or z) gathered at a time: with 64 coefficients 24 KB, which the first cache holds."""

RIDGE = 1e-6
"""Share of its diagonal by which the matrix of the steps, not that of the sum, exceeds the normal matrix.

Where a step is not unique the shortest is made, and elsewhere the next one corrects what this costs.
"""

MAX_ROUNDS = 200
LEAST_STEP = 1e-8
"""Once no coefficient would move further, it is done."""

SNAP = 1e-9
ARMIJO = 0.1
"""Of what a step promises to first order, the least that a bent one must keep."""


@inline
def _in_box(value: float) -> float:
    """``value`` clipped to 0..1; what is on a wall but for rounding is put there."""
    if value <= SNAP:
        return 0.0
    return 1.0 if value >= 1.0 - SNAP else value


@inline
def _gather(
    displacement: Array,
    basis: Array,
    weights: Array,
    point: int,
    max_mm: float,
    max_weight: float,
    rows: Array,
    targets: Array,
    scales: Array,
) -> int:
    """Copy usable points from ``point`` on, axis by axis, until ``rows`` is full; returns the next point.

    Rows that are left over get the scale 0.
    """
    filled = 0
    while point < len(weights) and filled < ROWS:
        x, y, z = displacement[point, 0], displacement[point, 1], displacement[point, 2]
        near = abs(x) <= max_mm and abs(y) <= max_mm and abs(z) <= max_mm
        # Comparisons with NaN are false, so a NaN leaves the point out.
        if near and 0.0 < weights[point] <= max_weight:
            for axis in range(3):
                targets[filled + axis] = displacement[point, axis]
                scales[filled + axis] = weights[point]
                for k in range(len(basis)):
                    rows[filled + axis, k] = basis[k, point, axis]
            filled += 3
        point += 1
    scales[filled:] = 0.0
    return point


@inline
def _accumulate(rows: Array, targets: Array, scales: Array, start: Array, normal: Array, pull: Array) -> None:
    """Add the rows' share to the lower triangle of B^T W B and to B^T W (d - B start)."""
    count = len(start)
    for first in range(0, ROWS, 4):
        r0, r1, r2, r3 = rows[first], rows[first + 1], rows[first + 2], rows[first + 3]
        w0, w1, w2, w3 = scales[first], scales[first + 1], scales[first + 2], scales[first + 3]
        d0, d1, d2, d3 = targets[first], targets[first + 1], targets[first + 2], targets[first + 3]
        for k in range(count):
            d0 -= r0[k] * start[k]
            d1 -= r1[k] * start[k]
            d2 -= r2[k] * start[k]
            d3 -= r3[k] * start[k]
        for i in range(count):
            a0, a1, a2, a3 = w0 * r0[i], w1 * r1[i], w2 * r2[i], w3 * r3[i]
            pull[i] += a0 * d0 + a1 * d1 + a2 * d2 + a3 * d3
            line = normal[i]
            for j in range(i + 1):
                line[j] += a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]


@inline
def _sweep(table: Array, k: int, leaving: bool) -> None:
    """Gauss-Jordan sweep of the symmetric ``table`` (lower triangle) on its k-th pivot, or its undoing.

    After sweeping a set F, ``table[F, F]`` is minus the inverse of what it was.
    """
    count = len(table)
    inverse = 1.0 / table[k, k]
    sign = -inverse if leaving else inverse
    column = np.empty(count, np.float64)
    for i in range(count):
        column[i] = table[i, k] if i >= k else table[k, i]
    for i in range(count):
        share = column[i] * inverse
        for j in range(i + 1):
            table[i, j] -= share * column[j]
    for i in range(count):
        table[max(i, k), min(i, k)] = column[i] * sign
    table[k, k] = -inverse


@inline
def _choose(table: Array, normal: Array, free: Array, swept: Array) -> None:
    """Sweep until ``swept`` is ``free``, but for variables that move nothing."""
    for k in range(len(free)):
        if swept[k] and not free[k]:
            _sweep(table, k, True)
            swept[k] = False
    for k in range(len(free)):
        if free[k] and not swept[k] and table[k, k] > 0.5 * RIDGE * normal[k, k]:
            _sweep(table, k, False)
            swept[k] = True


@inline
def _first_wall(code: Array, step: Array) -> float:
    """How much of the step can be made before the first coefficient meets a wall of the box, at most 1."""
    length = 1.0
    for k in range(len(code)):
        if step[k] > 0.0:
            length = min(length, (1.0 - code[k]) / step[k])
        elif step[k] < 0.0:
            length = min(length, -code[k] / step[k])
    return length


@inline
def _advance(normal: Array, step: Array, code: Array, pull: Array) -> float:
    """Make the step, bent at the walls where that goes down, else up to the first wall.

    :return: the largest change of a coefficient that the bent step would make; 0 where neither goes down.
    """
    count = len(code)
    delta, change = np.empty(count, np.float64), np.empty(count, np.float64)
    for k in range(count):
        delta[k] = _in_box(code[k] + step[k]) - code[k]
    reach = np.abs(delta).max()
    for straight in range(2):
        gain, slope = 0.0, 0.0
        for i in range(count):
            change[i] = 0.0
            for j in range(count):
                change[i] += normal[i, j] * delta[j]
            gain += delta[i] * (pull[i] - 0.5 * change[i])
            slope += delta[i] * pull[i]
        if straight == 1 or gain >= ARMIJO * abs(slope):
            break
        length = _first_wall(code, step)
        for k in range(count):
            delta[k] = _in_box(code[k] + length * step[k]) - code[k]
    if gain < 0.0:
        return 0.0
    code += delta
    pull -= change
    return reach


@inline
def _solve(normal: Array, pull: Array, code: Array) -> None:
    """Move ``code``, in the box, to the least of the sum, of which ``pull`` is the descent there.

    Newton steps on sets of free coefficients. They are released only once the free ones are at their best;
    all other steps make the set smaller, so that none comes back; bent steps keep that short.
    """
    count = len(code)
    table = normal.copy()
    for k in range(count):
        table[k, k] *= 1 + RIDGE
    free, swept = np.empty(count, np.bool_), np.zeros(count, np.bool_)
    step = np.empty(count, np.float64)
    settled = True
    for _ in range(MAX_ROUNDS):
        if settled:
            for k in range(count):
                free[k] = not ((code[k] <= 0.0 and pull[k] <= 0.0) or (code[k] >= 1.0 and pull[k] >= 0.0))
        _choose(table, normal, free, swept)
        for i in range(count):
            step[i] = 0.0
            if swept[i]:
                for j in range(count):
                    if swept[j]:
                        step[i] -= table[max(i, j), min(i, j)] * pull[j]
        reach = _advance(normal, step, code, pull)
        if settled and reach <= LEAST_STEP:
            return
        settled = True
        for k in range(count):
            if (code[k] <= 0.0 and step[k] < 0.0) or (code[k] >= 1.0 and step[k] > 0.0):
                free[k] = False
                settled = False
        settled = settled or reach <= LEAST_STEP


_points = types.Array(types.float32, 3, "C", readonly=True)
_table = types.Array(types.float32, 2, "C", readonly=True)


@compiled(
    types.void(
        _points,
        _points,
        _table,
        _table,
        *[types.float64] * 4,
        types.Array(types.float32, 2, "C"),
        types.none,
    )
)
def expression_solve(
    displacement: Array,
    basis: Array,
    weights: Array,
    previous: Array,
    l2: float,
    temporal: float,
    max_mm: float,
    max_weight: float,
    out: Array,
    stream: None,
) -> None:
    """Fill ``out`` (`stream.compute.expression_solve`)."""
    count = len(basis)
    rows = np.zeros((ROWS, count), np.float64)
    targets, scales = np.zeros(ROWS, np.float64), np.empty(ROWS, np.float64)
    normal, pull = np.empty((count, count), np.float64), np.empty(count, np.float64)
    code, before = np.empty(count, np.float64), np.empty(count, np.float64)
    for face in range(len(displacement)):
        for k in range(count):
            before[k] = previous[face, k] if np.isfinite(previous[face, k]) else 0.0
            code[k] = _in_box(before[k])
        normal[:], pull[:] = 0.0, 0.0
        point = 0
        while point < len(weights[face]):
            point = _gather(
                displacement[face], basis, weights[face], point, max_mm, max_weight, rows, targets, scales
            )
            _accumulate(rows, targets, scales, code, normal, pull)
        for i in range(count):
            normal[i, i] += l2 + temporal
            pull[i] -= l2 * code[i] + temporal * (code[i] - before[i])
            for j in range(i):
                normal[j, i] = normal[i, j]
        _solve(normal, pull, code)
        for k in range(count):
            out[face, k] = code[k]
