"""The 4-connected pieces of a picture, on the CPU."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array


@inline
def _root(parents: Array, run: int) -> int:
    while parents[run] != run:
        run = parents[run]
    return run


@inline
def _find_runs(solid: Array, runs: Array, parents: Array) -> int:
    """Row, first column and end of each run of ones, and an earlier one that it hangs together with."""
    count = above = 0
    for i in range(solid.shape[0]):
        row, first, j = solid[i], count, 0
        while j < solid.shape[1]:
            if not row[j]:
                j += 1
                continue
            begin = j
            while j < solid.shape[1] and row[j]:
                j += 1
            runs[count, 0], runs[count, 1], runs[count, 2] = i, begin, j
            parents[count] = count
            for other in range(above, first):
                if runs[other, 1] < j and runs[other, 2] > begin:
                    one, two = _root(parents, other), _root(parents, count)
                    parents[max(one, two)] = min(one, two)
            count += 1
        above = first
    return count


@compiled(
    types.int64(
        types.Array(types.uint8, 2, "C", readonly=True),
        types.Array(types.int32, 2, "C"),
        types.Array(types.int64, 2, "C"),
    )
)
def pieces(solid: Array, labels: Array, sums: Array) -> int:
    """Number the 4-connected pieces of a picture of 0 and 1 from 1 on, in the order of their first pixels.

    :param labels: filled with the number of each pixel's piece, 0 where there is none.
    :param sums: (S * (S + 1) // 2 + 1, 3), filled with each piece's area and the sums of its columns and
        rows; the first row is not a piece's.
    :return: how many rows of ``sums`` are in use, one more than there are pieces.
    """
    runs, parents = np.empty((len(sums), 3), np.int32), np.empty(len(sums), np.int32)
    numbers = np.empty(len(sums), np.int32)
    labels[:] = 0
    sums[0] = 0
    count = 1
    for run in range(_find_runs(solid, runs, parents)):
        root = _root(parents, run)
        if root == run:
            numbers[run] = count
            sums[count] = 0
            count += 1
        number = numbers[root]
        i, begin, end = runs[run, 0], runs[run, 1], runs[run, 2]
        labels[i, begin:end] = number
        sums[number, 0] += end - begin
        sums[number, 1] += (begin + end - 1) * (end - begin) // 2
        sums[number, 2] += i * (end - begin)
    return count
