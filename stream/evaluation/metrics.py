"""What depth is judged by. All take arrays of many samples and give one value per sample.

A value is NaN where a sample has nothing to compare; `mean` leaves those out.
"""

from __future__ import annotations

import numpy as np

from stream.depth.slopes import normals_from_slopes, slopes_of
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


def normalised_l1(depth: Array, truth: Array, where: Array) -> Array:
    """Mean absolute error of depths brought to [-1, 1] (seed 000, section 4.1: the L1 of its tables).

    The seed keeps each depth map as relative values in [-1, 1]. Here the true depth's least and greatest
    value over ``where`` become -1 and 1, for each sample by itself, and the prediction goes through the same
    map: an offset or a wrong scale counts, as it does there. (The seed's maps hold a background too, which
    ours do not know; its figures are therefore over a wider range.)

    :param depth, truth: (N, S, S) crop units.
    :returns: (N,) float64; NaN where there is no pixel or all of them lie at one depth.
    :raises InputError: as `depth_l1`.
    """
    error = depth_l1(depth, truth, where)
    low = np.where(where, truth, np.inf).min(axis=(1, 2)).astype(np.float64)
    high = np.where(where, truth, -np.inf).max(axis=(1, 2)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(high > low, 2 * error / np.where(high > low, high - low, 1), np.nan)


def scale_invariant_error(depth: Array, truth: Array, where: Array) -> Array:
    """SIDE, the scale-invariant depth error, times 100 (Eigen et al. 2014, eq. 1; Wu et al. 2020, "Unsup3D",
    section 4.1; seed 001, section 6.1): the standard deviation of log predicted - log true depth.

    Seed 001 writes the mean of the absolute difference (its eq. 6.1), which does change with scale; the
    figures it compares itself with are of the definition above. Distances are counted from the camera, so
    that the same error is smaller on a face further away.

    :param depth, truth: (N, S, S) distance along the camera's axis, any unit; a prediction that is not
        before the camera counts as a thousandth of the largest true one.
    :returns: (N,) float64.
    :raises InputError: shapes differ, a true distance is not positive, or a prediction is not finite.
    """
    _check(depth, truth, where)
    real = np.where(where, truth, 1.0).astype(np.float64)
    found = np.where(where, depth, 1.0).astype(np.float64)
    if not np.isfinite(found).all():
        raise InputError("A depth map holds NaN or infinity where it is to be compared.")
    if not (real > 0).all():
        raise InputError("A true distance is not positive; distances are counted from the camera.")
    nearest = real.max(axis=(1, 2), keepdims=True) * 1e-3
    difference = np.where(where, np.log(np.maximum(found, nearest)) - np.log(real), 0)
    count = where.sum(axis=(1, 2))
    middle = _ratio(difference.sum(axis=(1, 2)), count)
    square = np.where(where, difference - middle[:, None, None], 0) ** 2
    return 100 * np.sqrt(_ratio(square.sum(axis=(1, 2)), count))


def camera_normals(depth: Array, crop: Array, camera: Array, distance: Array) -> Array:
    """Unit normals (N, S, S, 3) float32, camera frame, of depth maps, exact under perspective.

    :param depth: (N, S, S) crop units along the camera's axis; the rest as `stream.depth.slopes` has it.
    """
    return normals_from_slopes(slopes_of(depth), depth, crop, camera, distance)


def mean_angle(normal: Array, truth: Array, where: Array) -> Array:
    """MAD, the mean angle deviation of normals, degrees (Wu et al. 2020, section 4.1; seed 001, section 6.1).

    The mean of the angles, as Unsup3D has it; seed 001's eq. 6.2, the angle of the mean cosine, is larger.

    :param normal, truth: (N, S, S, 3) of any length; pixels where either is 0 do not count.
    :param where: (N, S, S) bool; give `smooth_inside` of it for normals made from depth.
    :returns: (N,) float64.
    :raises InputError: shapes differ.
    """
    unit, real, usable = _unit_normals(normal, truth, where)
    angle = np.degrees(np.arccos(np.clip(np.einsum("nyxc,nyxc->nyx", unit, real), -1, 1)))
    return _ratio(np.where(usable, angle, 0).sum(axis=(1, 2)), usable.sum(axis=(1, 2)))


def rotated_mean_angle(normal: Array, truth: Array, where: Array) -> Array:
    """`mean_angle` after the one rotation of each sample's normals that brings them nearest to the true ones.

    The rotation is the least-squares one (Wahba 1965; by singular values as Kabsch 1976): what is left is
    the error of shape, without that of pose.

    :returns: (N,) float64.
    :raises InputError: shapes differ.
    """
    unit, real, usable = _unit_normals(normal, truth, where)
    turned = np.empty_like(unit)
    for one, other, inside, out in zip(unit, real, usable, turned, strict=True):
        left, _, right = np.linalg.svd(one[inside].T @ other[inside])
        flip = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
        out[:] = one @ (left @ flip @ right)
    return mean_angle(turned, real, usable)


def _unit_normals(normal: Array, truth: Array, where: Array) -> tuple[Array, Array, Array]:
    """Both as unit vectors, float64, and where both are there."""
    if normal.shape != (*where.shape, 3) or truth.shape != normal.shape or where.ndim != 3:
        raise InputError(f"Normals are {normal.shape} and {truth.shape}, not {(*where.shape, 3)}.")
    lengths = [np.linalg.norm(n.astype(np.float64), axis=-1) for n in (normal, truth)]
    usable = where & (lengths[0] > 1e-9) & (lengths[1] > 1e-9)
    units = [
        n / np.maximum(length, 1e-9)[..., None] for n, length in zip((normal, truth), lengths, strict=True)
    ]
    return units[0], units[1], usable


def mask_iou(mask: Array, foreground: Array, where: Array) -> Array:
    """Intersection over union of the predicted and the true foreground, over the pixels of ``where``.

    :param mask: (N, S, S) probability.
    :param foreground, where: (N, S, S) bool.
    :returns: (N,) float64; NaN where neither has a pixel, or where no background is known (the whole
        picture would then be a perfect answer).
    :raises InputError: shapes differ.
    """
    _check(mask, foreground, where)
    found = (mask > 0.5) & where
    real = foreground & where
    telling = (where & ~foreground).any(axis=(1, 2))
    union = np.where(telling, (found | real).sum(axis=(1, 2)), 0)
    return _ratio((found & real).sum(axis=(1, 2)), union)


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
