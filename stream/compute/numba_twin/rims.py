"""The edges of surfaces on the CPU: the last step of `stream.compute.mend_surface`."""

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
_map = types.Array(types.float32, 2, "C")


@inline
def _steps(depth: Array, alpha: Array, jump: float, across: Array, down: Array) -> None:
    """How pixels lie to those before them: 1 a step behind, -1 a step before, 0 connected.

    What is not head lies behind everything. ``across[i, j]`` is from column j - 1 to j, ``down[i, j]`` from
    row i - 1 to i; both arrays keep their zeros at either end, where nothing is next.
    """
    flat = np.empty_like(depth)
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            flat[i, j] = depth[i, j] if alpha[i, j] > 0 else BEYOND
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
def _find(depth: Array, alpha: Array, jump: float, out: Array, kinds: Array) -> None:
    """What stays (not that which hangs between two edges) keeps its alpha in ``out``; which are rims."""
    rows, columns = depth.shape
    across, down = np.zeros((rows, columns + 1), np.int8), np.zeros((rows + 1, columns), np.int8)
    _steps(depth, alpha, jump, across, down)
    for i in range(rows):
        for j in range(columns):
            left, right = -across[i, j], across[i, j + 1]
            above, below = -down[i, j], down[i + 1, j]
            near = (left > 0) | (right > 0) | (above > 0) | (below > 0)
            far = (left < 0) | (right < 0) | (above < 0) | (below < 0)
            stays = (alpha[i, j] > 0) & (left * right >= 0) & (above * below >= 0)
            out[i, j] = alpha[i, j] if stays else np.float32(0)
            kinds[i, j] = np.uint8(stays) * (NEAR * np.uint8(near) + FAR * np.uint8(far & ~near))


@compiled(types.void(_image, _image, types.float32, types.int64, types.float32, _map, _map))
def smooth_rims(
    depth: Array, alpha: Array, jump: float, reach: int, max_shift: float, out: Array, out_alpha: Array
) -> None:
    """Average the pixels along each edge along that edge, and cut what hangs between two edges.

    :param alpha: above 0 where ``depth`` counts; it is finite there.
    :param jump: depth step between neighbours that are not connected.
    :param reach: how many pixels to each side a rim is averaged.
    :param max_shift: from which change on a pixel stays as it is.
    :param out, out_alpha: filled; where alpha becomes 0 the depth stays.
    """
    rows, columns = depth.shape
    kinds = np.empty((rows, columns), np.uint8)
    _find(depth, alpha, jump, out_alpha, kinds)
    for i in range(rows):
        for j in range(columns):
            here = out[i, j] = depth[i, j]
            kind = kinds[i, j]
            if kind == 0:
                continue
            total, count = np.float32(0), 0
            for y in range(max(i - reach, 0), min(i + reach + 1, rows)):
                for x in range(max(j - reach, 0), min(j + reach + 1, columns)):
                    if kinds[y, x] == kind:
                        total += depth[y, x] - here
                        count += 1
            shift = total / np.float32(count)
            if abs(shift) < max_shift:
                out[i, j] = here + shift
