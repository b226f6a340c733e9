"""The passes over pixels of `stream.mesh.edges` and `stream.mesh.silhouette`, on the CPU only.

What is constant there comes as an argument: numba's cache does not notice a constant that changed
elsewhere.
"""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

NEAR, FAR = 1, 2
"""Kinds of rims: before a step, and behind one."""

BEYOND = np.float32(1e3)
"""Depth of what is not head, crop units."""

_image = types.Array(types.float32, 2, "C", readonly=True)
_flags = types.Array(types.boolean, 2, "C")
_sums = types.Array(types.int64, 2, "C")
_bytes = types.Array(types.uint8, 2, "C")


@inline
def _steps(depth: Array, head: Array, jump: float, across: Array, down: Array) -> None:
    """How pixels lie to those before them: 1 a step behind, -1 a step before, 0 connected.

    What is not head lies behind everything. ``across[i, j]`` is from column j - 1 to j, ``down[i, j]`` from
    row i - 1 to i; both arrays keep their zeros at either end, where nothing is next.
    """
    flat = np.empty_like(depth)
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            flat[i, j] = depth[i, j] if head[i, j] else BEYOND
    for i in range(depth.shape[0]):
        here, wide = flat[i], across[i]
        for j in range(1, depth.shape[1]):
            behind, before = here[j] >= here[j - 1] + jump, here[j - 1] >= here[j] + jump
            wide[j] = np.int8(behind) - np.int8(before)
    for i in range(1, depth.shape[0]):
        here, last, long = flat[i], flat[i - 1], down[i]
        for j in range(depth.shape[1]):
            behind, before = here[j] >= last[j] + jump, last[j] >= here[j] + jump
            long[j] = np.int8(behind) - np.int8(before)


@inline
def _find(depth: Array, head: Array, jump: float, kept: Array, kinds: Array) -> None:
    """Which pixels stay head (not those that hang between two edges), and which of them are rims."""
    rows, columns = depth.shape
    across, down = np.zeros((rows, columns + 1), np.int8), np.zeros((rows + 1, columns), np.int8)
    _steps(depth, head, jump, across, down)
    for i in range(rows):
        for j in range(columns):
            left, right = -across[i, j], across[i, j + 1]
            above, below = -down[i, j], down[i + 1, j]
            near = (left > 0) | (right > 0) | (above > 0) | (below > 0)
            far = (left < 0) | (right < 0) | (above < 0) | (below < 0)
            stays = head[i, j] & (left * right >= 0) & (above * below >= 0)
            kept[i, j] = stays
            kinds[i, j] = np.uint8(stays) * (NEAR * np.uint8(near) + FAR * np.uint8(far & ~near))


@compiled(
    types.void(
        _image,
        types.Array(types.boolean, 2, "C", readonly=True),
        types.float32,
        types.int64,
        types.float32,
        types.Array(types.float32, 2, "C"),
        _flags,
    )
)
def smooth_rims(
    depth: Array, head: Array, jump: float, reach: int, max_shift: float, out: Array, kept: Array
) -> None:
    """Fill ``out`` and ``kept``, the two results of `stream.mesh.edges.smooth_rims`.

    :param reach: how many pixels to each side a rim is averaged.
    :param max_shift: from which change on a pixel stays as it is.
    """
    rows, columns = depth.shape
    kinds = np.empty((rows, columns), np.uint8)
    _find(depth, head, jump, kept, kinds)
    for i in range(rows):
        for j in range(columns):
            out[i, j] = depth[i, j]
            kind = kinds[i, j]
            if kind == 0:
                continue
            total, count = 0.0, 0
            for y in range(max(i - reach, 0), min(i + reach + 1, rows)):
                for x in range(max(j - reach, 0), min(j + reach + 1, columns)):
                    if kinds[y, x] == kind:
                        total += depth[y, x]
                        count += 1
            mean = np.float32(total / count)
            if abs(mean - depth[i, j]) < max_shift:
                out[i, j] = mean


@compiled(types.void(_image, _image, types.float32, types.float32, _bytes))
def solid_pixels(depth: Array, mask: Array, threshold: float, farthest: float, out: Array) -> None:
    """1 where the mask reaches the threshold and the depth is finite and near enough, 0 elsewhere."""
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            out[i, j] = mask[i, j] >= threshold and abs(depth[i, j]) < farthest


@compiled(
    types.void(
        _image,
        _image,
        types.Array(types.uint8, 2, "C", readonly=True),
        types.Array(types.uint8, 2, "C", readonly=True),
        types.float32,
        types.Array(types.float32, 2, "C"),
    )
)
def kept_mask(depth: Array, mask: Array, solid: Array, kept: Array, farthest: float, out: Array) -> None:
    """The mask where it is kept and near enough, 1 where it was not solid there, 0 elsewhere."""
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            if kept[i, j] and abs(depth[i, j]) < farthest:
                out[i, j] = mask[i, j] if solid[i, j] else np.float32(1)
            else:
                out[i, j] = np.float32(0)


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
    types.int64(types.Array(types.uint8, 2, "C", readonly=True), types.Array(types.int32, 2, "C"), _sums)
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
