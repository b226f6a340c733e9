"""Depth along the line of sight, which a crop shows, and depth along the camera's axis, which it does not.

Two faces that look the same in their crops are turned differently in camera space when one is in the
middle of the picture and the other beside it: nothing in the crop tells. So the depth network learns
depth relative to the plane through the eyes *across the line of sight* to the crop's centre; what
`stream.types.Depth` promises, depth relative to the plane *parallel to the image*, follows from where the
crop lies. Both differ by a tilt, to first order in the angle between the line of sight and the axis:

    depth along the sight = depth along the axis + sight_x * x + sight_y * (y - EYE_LINE)

with x and y in crop units, and sight the tangent of that angle along the crop's axes.
"""

from __future__ import annotations

import math

import numpy as np

from stream.types import Array, Crop, Intrinsics

EYE_LINE = -0.055
"""Where the eye centres' midpoint lies in an upright crop of a face (`stream.face.crop`), crop units."""


def line_of_sight(crop: Crop, intrinsics: Intrinsics) -> Array:
    """(2,) float32 tangents of the line of sight to the crop's centre, along the crop's x and y axes."""
    x = (crop.x - intrinsics.cx) / intrinsics.fx
    y = (crop.y - intrinsics.cy) / intrinsics.fy
    c, s = math.cos(crop.angle), math.sin(crop.angle)
    return np.array([c * x + s * y, c * y - s * x], dtype=np.float32)


def sight_tilt(sight: Array, size: int) -> Array:
    """What depth along the sight has more than depth along the axis, crop units.

    :param sight: (2,) or (N, 2), see `line_of_sight`.
    :returns: (size, size) or (N, size, size) float32.
    """
    axis = ((2 * np.arange(size, dtype=np.float32) + 1) / size - 1).astype(np.float32)
    along_x = sight[..., 0, None, None] * axis[None, :]
    return (along_x + sight[..., 1, None, None] * (axis - EYE_LINE)[:, None]).astype(np.float32)


def sight_plane(sight: Array, size: int) -> Array:
    """`sight_tilt` as a plane over pixels: (3,) float64 p, at column j and row i it is p0 j + p1 i + p2."""
    x, y = (float(tangent) for tangent in sight)
    first = 1 / size - 1
    return np.array([2 * x / size, 2 * y / size, x * first + y * (first - EYE_LINE)])
