"""Taking out of a prediction what is not shape: scale, offset and tilt of a depth map, the similarity between
two clouds of points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream.errors import InputError
from stream.types import Array

MIN_PIXELS = 16
"""A fit on fewer pixels says nothing."""


def fit_depth(depth: Array, truth: Array, where: Array, tilt: bool) -> Array:
    """Depth maps brought to the true ones by least squares over the pixels of ``where``.

    Each sample by itself: truth ~ scale * depth + offset (+ tilt_x * x + tilt_y * y), x and y the crop
    coordinates; the scale is not let below 0, so that relief never turns inside out. Scale and offset are
    the alignment of Ranftl et al. 2020 ("MiDaS", section 5); the tilt is what one crop cannot tell, since
    it is exchanged with the head's turn (the bas-relief ambiguity, Belhumeur et al. 1999).

    :param depth, truth: (N, S, S) crop units.
    :param where: (N, S, S) bool.
    :returns: (N, S, S) float64; NaN for samples with fewer than `MIN_PIXELS` pixels.
    :raises InputError: shapes differ, or a prediction is not finite where it is fitted.
    """
    if depth.ndim != 3 or depth.shape != truth.shape or depth.shape != where.shape:
        raise InputError(
            f"Maps to fit must share one shape (N, S, S): {[a.shape for a in (depth, truth, where)]}."
        )
    grid = crop_grid(depth.shape[-1])
    fitted = np.full(depth.shape, np.nan)
    for one, real, inside, out in zip(depth, truth, where, fitted, strict=True):
        if inside.sum() >= MIN_PIXELS:
            plane = [np.ones(int(inside.sum())), *(grid[inside].T if tilt else ())]
            out[:] = _fit(one.astype(np.float64), real[inside].astype(np.float64), inside, plane, grid)
    return fitted


def without_plane(depth: Array, where: Array, also: Array | None = None) -> Array:
    """What offset and tilt (and a multiple of ``also``) leave of (S, S) depth on the K pixels of ``where``.

    By least squares over these pixels.

    :returns: (K,) float64.
    :raises InputError: a value is not finite there.
    """
    columns = [np.ones(int(where.sum())), *crop_grid(depth.shape[-1])[where].T]
    if also is not None:
        columns.append(also[where].astype(np.float64))
    design, values = np.stack(columns, axis=1), depth[where].astype(np.float64)
    if not (np.isfinite(values).all() and np.isfinite(design).all()):
        raise InputError("A depth map holds NaN or infinity where it is to be compared.")
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])


def crop_grid(size: int) -> Array:
    """(size, size, 2) float64: crop coordinates x, y of every pixel."""
    axis = (2 * np.arange(size) + 1) / size - 1
    return np.stack(np.meshgrid(axis, axis), axis=-1)


class Similarity(NamedTuple):
    """Points p to ``scale * rotation @ p + translation``: float, (3, 3), (3,)."""

    scale: float
    rotation: Array
    translation: Array

    def __call__(self, points: Array) -> Array:
        """Move points (N, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)

    def inverse(self) -> Similarity:
        """The way back."""
        turn = self.rotation.T
        return Similarity(1 / self.scale, turn, -turn @ self.translation / self.scale)


def fit_similarity(source: Array, target: Array) -> Similarity:
    """The similarity that brings points (N, 3) nearest to their partners, by least squares (Umeyama 1991).

    :raises InputError: fewer than three points, shapes differ, values are not finite, or all coincide.
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        raise InputError(f"A similarity needs pairs of points (N, 3), not {source.shape} and {target.shape}.")
    source, target = source.astype(np.float64), target.astype(np.float64)
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("Points to align hold NaN or infinity.")
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    spread = float(((source - from_mean) ** 2).sum())
    if spread <= 1e-12:
        raise InputError("Points that all coincide cannot be aligned.")
    left, values, right = np.linalg.svd((target - to_mean).T @ (source - from_mean))
    signs = np.array([1, 1, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1])
    rotation = (left * signs) @ right
    scale = float(values @ signs) / spread
    return Similarity(scale, rotation, to_mean - scale * rotation @ from_mean)


def _fit(depth: Array, truth: Array, inside: Array, plane: list[Array], grid: Array) -> Array:
    values = depth[inside]
    if not np.isfinite(values).all():
        raise InputError("A depth map holds NaN or infinity where it is to be compared.")
    middle = values.mean()
    solution = _solve([values - middle, *plane], truth)
    if solution[0] < 0:
        solution = np.concatenate([[0.0], _solve(plane, truth)])
    fitted = solution[0] * (depth - middle) + solution[1]
    return fitted + grid @ solution[2:] if len(plane) > 1 else fitted


def _solve(columns: list[Array], truth: Array) -> Array:
    return np.linalg.lstsq(np.stack(columns, axis=1), truth, rcond=None)[0]
