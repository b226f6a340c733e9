"""Where each pixel of a depth map lies, for `depth_to_mesh` on the CPU.

It is compiled into that kernel, whose entry in numba's cache does not notice a change here: touch
its file, too.
"""

from __future__ import annotations

import numpy as np

from stream.compute.numba_twin.compiling import inline
from stream.types import Array


@inline
def place(
    depth: Array,
    mask: Array,
    matrix: Array,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    distance: float,
    mm_per_unit: float,
    threshold: float,
    least_z: float,
    reach: float,
    vertices: Array,
    uv: Array,
    usable: Array,
    spans: Array,
) -> None:
    """Back-project every pixel of the (S, S) grid; unusable ones go to the plane of depth 0.

    Of each row, ``spans`` gets the first usable column and the end; S and 0 where there is none.

    Limits come as arguments, since numba's cache does not notice a constant that changed elsewhere.
    """
    size = depth.shape[0]
    # Divisions take most of the time, so there are none for each pixel.
    centres = (np.arange(size) + 0.5) / size
    right_x, right_y = matrix[0, 0] / fx, matrix[1, 0] / fy
    for i in range(size):
        row_x = (matrix[0, 1] * i + matrix[0, 2] - cx) / fx
        row_y = (matrix[1, 1] * i + matrix[1, 2] - cy) / fy
        for j in range(size):
            x, y = right_x * j + row_x, right_y * j + row_y
            z = distance + depth[i, j] * mm_per_unit
            # Comparisons with NaN are false, so a NaN in depth or mask is not usable.
            in_range = least_z <= z <= reach and abs(x * z) <= reach and abs(y * z) <= reach
            usable[i, j] = in_range and mask[i, j] >= threshold
            if not usable[i, j]:
                z = distance
            vertices[i, j, 0] = x * z
            vertices[i, j, 1] = y * z
            vertices[i, j, 2] = z
            uv[i, j, 0], uv[i, j, 1] = centres[j], centres[i]
        first, end = 0, size
        while first < size and not usable[i, first]:
            first += 1
        while end > first and not usable[i, end - 1]:
            end -= 1
        spans[i, 0], spans[i, 1] = first, end if end > first else 0
