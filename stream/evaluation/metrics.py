"""What depth is judged by. All take arrays of many samples and give one value per sample.

A value is NaN where a sample has nothing to compare; `mean` leaves those out.
"""

from __future__ import annotations

import numpy as np

from stream.errors import InputError
from stream.types import Array

EDGE_SLOPE = 6.4
"""Crop units of depth per crop unit of picture above which two neighbouring pixels lie on two surfaces."""


def depth_l1(depth: Array, truth: Array, where: Array) -> Array:
    """Mean absolute error in crop units over the pixels of ``where``: nothing is aligned or scaled.

    :param depth, truth: (N, S, S) crop units.
    :param where: (N, S, S) bool.
    :returns: (N,) float64.
    :raises InputError: shapes differ, or a prediction is not finite where it is compared.
    """
    _check(depth, truth, where)
    error = np.abs(np.where(where, depth.astype(np.float64) - truth, 0.0))
    if not np.isfinite(error).all():
        raise InputError("A depth map holds NaN or infinity where it is to be compared.")
    return _ratio(error.sum(axis=(1, 2)), where.sum(axis=(1, 2)))


def normal_degrees(depth: Array, normal: Array, truth: Array, where: Array) -> Array:
    """Mean angle between the true normals and those of the predicted depth, degrees.

    The prediction's normals are those of the height field over the crop (`normals_from_depth`); pixels
    count whose four neighbours are in ``where`` too, with no edge of the true depth between them.

    :param depth, truth: (N, S, S) crop units.
    :param normal: (N, S, S, 3), of any length.
    :returns: (N,) float64.
    :raises InputError: shapes differ.
    """
    _check(depth, truth, where)
    if normal.shape != (*depth.shape, 3):
        raise InputError(f"Normals are {normal.shape}, not {(*depth.shape, 3)}.")
    surface = normals_from_depth(depth)
    dot = np.einsum("nyxc,nyxc->nyx", surface, normal.astype(np.float64))
    length = np.linalg.norm(normal.astype(np.float64), axis=-1)
    angle = np.degrees(np.arccos(np.clip(dot / np.maximum(length, 1e-9), -1, 1)))
    usable = smooth_inside(truth, where) & (length > 0)
    return _ratio(np.where(usable, angle, 0).sum(axis=(1, 2)), usable.sum(axis=(1, 2)))


def mask_iou(mask: Array, foreground: Array, where: Array, threshold: float = 0.5) -> Array:
    """Intersection over union of the predicted and the true foreground, over the pixels of ``where``.

    :param mask: (N, S, S) probability.
    :param foreground, where: (N, S, S) bool.
    :returns: (N,) float64; NaN where neither has a pixel, or where no background is known (the whole
        picture would then be a perfect answer).
    :raises InputError: shapes differ.
    """
    _check(mask, foreground, where)
    found = (mask > threshold) & where
    real = foreground & where
    telling = (where & ~foreground).any(axis=(1, 2))
    union = np.where(telling, (found | real).sum(axis=(1, 2)), 0)
    return _ratio((found & real).sum(axis=(1, 2)), union)


def normals_from_depth(depth: Array) -> Array:
    """(N, S, S, 3) float64 unit normals of height fields (N, S, S) in crop units, towards the camera (z < 0).

    Central differences, one-sided at the border; x and y advance by 2 / S from pixel to pixel. The camera
    is taken as orthographic.
    """
    step = 2 / depth.shape[-1]
    slope_y, slope_x = np.gradient(depth.astype(np.float64), step, axis=(1, 2))
    surface = np.stack([slope_x, slope_y, np.full_like(slope_x, -1.0)], axis=-1)
    return surface / np.linalg.norm(surface, axis=-1, keepdims=True)


def smooth_inside(truth: Array, where: Array) -> Array:
    """(N, S, S) bool: pixels that are in ``where`` with their four neighbours, no depth edge between."""
    limit = EDGE_SLOPE * 2 / truth.shape[-1]
    filled = np.where(where, truth, 0).astype(np.float32)
    right = where[:, :, 1:] & where[:, :, :-1] & (np.abs(np.diff(filled, axis=2)) < limit)
    down = where[:, 1:] & where[:, :-1] & (np.abs(np.diff(filled, axis=1)) < limit)
    inside = np.zeros_like(where)
    inside[:, 1:-1, 1:-1] = right[:, 1:-1, 1:] & right[:, 1:-1, :-1] & down[:, 1:, 1:-1] & down[:, :-1, 1:-1]
    return inside


def mean(values: Array) -> float:
    """Mean of the values that are there; NaN when there is none."""
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")


def _ratio(total: Array, count: Array) -> Array:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check(*arrays: Array) -> None:
    shape = arrays[0].shape
    if len(shape) != 3 or any(array.shape != shape for array in arrays):
        raise InputError(f"Maps to compare must share one shape (N, S, S), not {[a.shape for a in arrays]}.")
