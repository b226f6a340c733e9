"""`mend_surface` on the CPU.

What is constant there comes as an argument: numba's cache does not notice a constant that changed
elsewhere.
"""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.depth_to_mesh_batch import MASK_THRESHOLD
from stream.compute.mend_surface import (
    FARTHEST,
    MAX_HOLE,
    MAX_SHIFT,
    MIN_PIECE,
    PIECE_REACH,
    RIM_REACH,
    SURE,
    SurfaceBatch,
)
from stream.compute.numba_twin.compiling import compiled, inline
from stream.compute.numba_twin.pieces import pieces
from stream.compute.numba_twin.rims import smooth_rims
from stream.types import Array

_image = types.Array(types.float32, 2, "C", readonly=True)
_map = types.Array(types.float32, 2, "C")
_bytes = types.Array(types.uint8, 2, "C")
_labels = types.Array(types.int32, 2, "C")
_sums = types.Array(types.int64, 2, "C")


def mend_surface(
    depth: Array, mask: Array, confidence: Array | None, jump: float, out: SurfaceBatch, stream: None
) -> None:
    """Fill ``out``, one map after another (`stream.compute.mend_surface`)."""
    depth, mask = np.ascontiguousarray(depth), np.ascontiguousarray(mask)
    sure = None if confidence is None else np.ascontiguousarray(confidence)
    size = depth.shape[1]
    solid, other = np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)
    labels, clean = np.empty((size, size), np.int32), np.empty((size, size), np.float32)
    sums = np.empty((size * (size + 1) // 2 + 1, 3), np.int64)
    for n, (one, its_mask) in enumerate(zip(depth, mask, strict=True)):
        area = solid_pixels(one, its_mask, MASK_THRESHOLD, FARTHEST, solid, other)
        count = pieces(other, labels, sums)
        # Without confidence the mask stands for it where it does not matter: nothing is less sure than 0.
        least = SURE if sure is not None else 0.0
        fill_holes(labels, sums[:count], its_mask if sure is None else sure[n], MAX_HOLE * area, least, other)
        round_outline(other)
        count = pieces(other, labels, sums)
        keep_pieces(one, its_mask, solid, labels, sums[:count], FARTHEST, MIN_PIECE, PIECE_REACH, clean)
        smooth_rims(one, clean, jump, RIM_REACH, MAX_SHIFT, out.depth[n], out.alpha[n])


@compiled(types.int64(_image, _image, types.float32, types.float32, _bytes, _bytes))
def solid_pixels(
    depth: Array, mask: Array, threshold: float, farthest: float, solid: Array, other: Array
) -> int:
    """1 where the mask reaches the threshold and the depth is finite and near enough, else ``other`` is 1.

    :return: how many there are.
    """
    count = 0
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            here = (mask[i, j] >= threshold) & (abs(depth[i, j]) < farthest)
            solid[i, j], other[i, j] = here, not here
            count += here
    return count


@compiled(types.void(types.Array(types.int32, 2, "C"), _sums, _image, types.float64, types.float64, _bytes))
def fill_holes(labels: Array, sums: Array, confidence: Array, limit: float, sure: float, out: Array) -> None:
    """1 where there is no background, or where it is a small, sure hole; 0 elsewhere.

    Confidence is summed as whole numbers of 1 / 65536, so that the order does not matter.

    :param labels, sums: the background's, of `pieces`; of a hole's sums the last two are overwritten.
    :param limit: largest area of a hole.
    """
    last = len(labels) - 1
    sums[0, 0] = 0
    sums[1:, 1] = 0
    for k in range(len(labels)):
        for label in (labels[0, k], labels[last, k], labels[k, 0], labels[k, last]):
            sums[label, 0] = 0  # open to the outside
    small = False
    for label in range(1, len(sums)):
        small |= 0 < sums[label, 0] <= limit
    if not small:
        for i in range(len(labels)):
            for j in range(len(labels)):
                out[i, j] = labels[i, j] == 0
        return
    for i in range(len(labels)):
        for j in range(len(labels)):
            label, share = labels[i, j], confidence[i, j]
            if 0 < sums[label, 0] <= limit and share > 0:
                sums[label, 1] += np.int64(min(share, np.float32(1)) * np.float32(65536) + np.float32(0.5))
    for label in range(1, len(sums)):
        area = sums[label, 0]
        sums[label, 2] = 0 < area <= limit and sums[label, 1] >= sure * 65536 * area
    sums[0, 2] = 1
    for i in range(len(labels)):
        for j in range(len(labels)):
            out[i, j] = sums[labels[i, j], 2]


@inline
def _widened(row: Array, border: int, out: Array) -> None:
    """A row with two more pixels at either end: as it ends, or ``border`` where that is 0 or 1."""
    size = len(row)
    for j in range(size):
        out[j + 2] = row[j]
    for k in range(2):
        out[k], out[size + 2 + k] = (row[0], row[size - 1]) if border < 0 else (border, border)


@compiled(types.void(_bytes))
def round_outline(picture: Array) -> None:
    """Open a picture of 0 and 1 by a cross, and keep what then has a majority of the 5 x 5 pixels around."""
    size = len(picture)
    wide, ones, zeros = np.empty(size + 4, np.uint8), np.ones(size, np.uint8), np.zeros(size, np.uint8)
    part, sums = np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)
    for i in range(size):
        above, below = picture[i - 1] if i else ones, picture[i + 1] if i < size - 1 else ones
        here, made = picture[i], part[i]
        _widened(here, 1, wide)
        for j in range(size):
            made[j] = here[j] & above[j] & below[j] & wide[j + 1] & wide[j + 3]
    for i in range(size):
        above, below = part[i - 1] if i else zeros, part[i + 1] if i < size - 1 else zeros
        here, made, total = part[i], picture[i], sums[i]
        _widened(here, 0, wide)
        for j in range(size):
            made[j] = here[j] | above[j] | below[j] | wide[j + 1] | wide[j + 3]
        _widened(made, -1, wide)
        for j in range(size):
            total[j] = wide[j] + wide[j + 1] + wide[j + 2] + wide[j + 3] + wide[j + 4]
    for i in range(size):
        a, b = sums[max(i - 2, 0)], sums[max(i - 1, 0)]
        c, d = sums[min(i + 1, size - 1)], sums[min(i + 2, size - 1)]
        here, made = sums[i], picture[i]
        for j in range(size):
            around = np.uint8(a[j] + b[j] + here[j] + c[j] + d[j])
            made[j] &= around >= np.uint8(13)


@compiled(
    types.void(_image, _image, _bytes, _labels, _sums, types.float32, types.float64, types.float64, _map)
)
def keep_pieces(
    depth: Array,
    mask: Array,
    solid: Array,
    labels: Array,
    sums: Array,
    farthest: float,
    min_piece: float,
    reach: float,
    out: Array,
) -> None:
    """Alpha of the largest piece and the face's other parts: the mask, 1 where it was not solid; else 0.

    :param labels, sums: of `pieces`; the sums are overwritten.
    """
    largest = 1
    for label in range(2, len(sums)):
        if sums[label, 0] > sums[largest, 0]:
            largest = label
    least = min_piece * sums[largest, 0] if len(sums) > 1 else 0.0
    size = len(labels)
    for label in range(1, len(sums)):
        area = float(sums[label, 0])
        x = (2 * sums[label, 1] + area - area * size) / (area * size)
        y = (2 * sums[label, 2] + area - area * size) / (area * size)
        sums[label, 1] = label == largest or (area >= least and x * x + y * y < reach * reach)
    sums[0, 1] = 0
    for i in range(size):
        for j in range(size):
            kept = sums[labels[i, j], 1] and abs(depth[i, j]) < farthest
            out[i, j] = (mask[i, j] if solid[i, j] else np.float32(1)) if kept else np.float32(0)
