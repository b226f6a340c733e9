"""The photo-like faces with the head model fitted to each, and the cache that keeps those fits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stream.errors import InputError
from stream.training.correspond import (
    FACE_LANDMARKS,
    LANDMARKS,
    cast_landmarks,
    dense_correspondence,
    sparse_correspondence,
    warped_landmarks,
)
from stream.training.fit import (
    PHOTO_SIDE,
    Correspondence,
    Fits,
    fit_points,
    initial_pose,
    photo_intrinsics,
    point_basis,
)
from stream.training.ict import HeadModel
from stream.types import Array

TRAIN_PHOTOS, VAL_PHOTOS, TEST_PHOTOS = range(0, 4300), range(4300, 4500), range(4500, 5000)

SPARSE_SIGMA, DENSE_SIGMA = 0.015, 0.03
"""Standard deviation of a landmark over the outer eye distance; larger where many errors go together."""

CHUNK = 50
SAMPLE_STEP = 10
"""Every tenth training photo is enough to find the correspondences."""

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """MediaPipe's results for every photo.

    :ivar landmarks: (n, 478, 3) float64 image pixels, z in the same scale.
    :ivar matrices: (n, 4, 4) float32 poses, y up.
    """

    landmarks: Array
    matrices: Array


@dataclass(frozen=True, slots=True)
class FittedPhotos:
    """Fits to all photos and the landmark correspondence they were made with."""

    folder: Path
    labels: Labels
    fits: Fits
    points: Correspondence

    def image(self, index: int) -> Array:
        """(320, 320, 3) uint8 RGB photo.

        :raises InputError: the file is missing or not a picture of that size.
        """
        picture = cv2.imread(str(self.folder / f"{index:05d}.jpg"), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (PHOTO_SIDE, PHOTO_SIDE, 3):
            raise InputError(f"Photo {index:05d}.jpg in {self.folder} cannot be read; draw the photos again.")
        return np.ascontiguousarray(picture[:, :, ::-1])


def load_labels(folder: Path) -> Labels:
    """Read ``labels.npz`` of a folder of photos.

    :raises InputError: it is missing or malformed.
    """
    try:
        with np.load(folder / "labels.npz", allow_pickle=False) as data:
            landmarks, matrices = data["landmarks"].astype(np.float64), data["matrix"]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder} has no usable labels.npz: {error}.") from error
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 3) or matrices.shape[1:] != (4, 4):
        raise InputError(f"{folder}/labels.npz holds arrays of unexpected shapes.")
    landmarks *= PHOTO_SIDE
    landmarks[..., :2] -= 0.5
    return Labels(landmarks, matrices)


def find_correspondence(model: HeadModel, labels: Labels) -> Correspondence:
    """Place MediaPipe's 478 landmarks on the head model by fits to a part of the training photos.

    Starts from the 68 landmarks both know, less each one's mean residual; then casts all landmarks onto
    the fitted faces and averages, a few times over.
    """
    chosen = np.arange(TRAIN_PHOTOS.start, min(TRAIN_PHOTOS.stop, len(labels.landmarks)), SAMPLE_STEP)
    landmarks = labels.landmarks[chosen]
    pose = initial_pose(labels.matrices[chosen], landmarks, photo_intrinsics(PHOTO_SIDE))
    sparse, shared = sparse_correspondence()
    guess = warped_landmarks(model, landmarks, pose)
    points = dense_correspondence(model, guess)
    fits = _fit_sparse(model, sparse, landmarks[:, shared, :2], pose)
    for _ in range(ROUNDS):
        points = dense_correspondence(model, guess, cast_landmarks(model, fits, landmarks))
        mean, basis = point_basis(model, points)
        fits = _fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA)
    return points


def fit_photos(
    model: HeadModel,
    folder: Path,
    cache: Path,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> FittedPhotos:
    """Fits to all photos of ``folder``, from ``cache`` (an .npz file) where it holds them.

    :param progress: called with photos done and photos in all.
    """
    labels = load_labels(folder)
    count = len(labels.landmarks)
    stored = _load_cache(cache, count)
    if stored is not None:
        return FittedPhotos(folder, labels, *stored)
    points = find_correspondence(model, labels)
    mean, basis = point_basis(model, points)
    intrinsics = photo_intrinsics(PHOTO_SIDE)
    pose = initial_pose(labels.matrices, labels.landmarks, intrinsics)
    parts = []
    with ProcessPoolExecutor(workers) as pool:
        jobs = []
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            targets = labels.landmarks[part, :, :2]
            guess = (pose[0][part], pose[1][part])
            jobs.append(pool.submit(fit_points, mean, basis, points.use, targets, guess, DENSE_SIGMA))
        for job in jobs:
            parts.append(job.result())
            if progress is not None:
                progress(min(len(parts) * CHUNK, count), count)
    fits = _joined(parts)
    _save_cache(cache, fits, points)
    return FittedPhotos(folder, labels, fits, points)


def _fit_sparse(model: HeadModel, sparse: Correspondence, targets: Array, pose: tuple[Array, Array]) -> Fits:
    """Fit the 68 landmarks, moving each by its mean residual (both models place them differently)."""
    mean, basis = point_basis(model, sparse)
    fits = _fit_chunks(mean, basis, sparse.use, targets, pose, SPARSE_SIGMA)
    for _ in range(2):
        mean = mean + mean_offsets(mean, basis, fits, targets)
        fits = _fit_chunks(mean, basis, sparse.use, targets, pose, SPARSE_SIGMA)
    return fits


def mean_offsets(mean: Array, basis: Array, fits: Fits, targets: Array) -> Array:
    """Move (P, 3) mm of each mean point that best explains its residuals (n, P, 2) over all photos."""
    intrinsics = photo_intrinsics(PHOTO_SIDE)
    points = mean + np.einsum("pck,nk->npc", basis, fits.coefficients, optimize=True)
    camera = points @ fits.rotation.transpose(0, 2, 1) + fits.translation[:, None]
    pixels = camera[..., :2] / camera[..., 2:] * intrinsics.fx + intrinsics.cx
    missing = (targets - pixels) * (fits.translation[:, 2] / intrinsics.fx)[:, None, None]
    rows = fits.rotation[:, :2].astype(np.float64)
    normal = np.einsum("nij,nik->jk", rows, rows) + OFFSET_PRIOR * len(rows) * np.eye(3)
    return np.linalg.solve(normal, np.einsum("nij,npi->jp", rows, missing)).T


OFFSET_PRIOR = 0.025
"""Holds back an offset's component along the line of sight, which few photos show."""


def _fit_chunks(
    mean: Array, basis: Array, use: Array, targets: Array, pose: tuple[Array, Array], sigma: float
) -> Fits:
    parts = []
    for start in range(0, len(targets), CHUNK):
        part = slice(start, start + CHUNK)
        parts.append(fit_points(mean, basis, use, targets[part], (pose[0][part], pose[1][part]), sigma))
    return _joined(parts)


def _joined(parts: list[Fits]) -> Fits:
    names = ("rotation", "translation", "coefficients", "error")
    return Fits(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _save_cache(path: Path, fits: Fits, points: Correspondence) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        rotation=fits.rotation,
        translation=fits.translation,
        coefficients=fits.coefficients,
        error=fits.error,
        vertices=points.vertices,
        weights=points.weights,
        use=points.use,
    )
    temporary.replace(path)


def _load_cache(path: Path, count: int) -> tuple[Fits, Correspondence] | None:
    """Fits and correspondence from the cache; None where it is missing or made for other photos."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as data:
        if len(data["rotation"]) != count or len(data["vertices"]) != LANDMARKS:
            return None
        fits = Fits(data["rotation"], data["translation"], data["coefficients"], data["error"])
        return fits, Correspondence(data["vertices"], data["weights"], data["use"])


__all__ = ["FACE_LANDMARKS", "FittedPhotos", "Labels", "find_correspondence", "fit_photos", "load_labels"]
