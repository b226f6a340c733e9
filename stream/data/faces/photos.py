"""The photo-like faces with the head model fitted to each, and the cache that keeps those fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stream.data.faces.correspond import DENSE_SIGMA, LANDMARKS
from stream.data.faces.fit import (
    CHUNK,
    PHOTO_SIDE,
    Correspondence,
    Fits,
    fit_points,
    initial_pose,
    join_fits,
    point_basis,
)
from stream.data.faces.head import HeadModel
from stream.data.shards import save_arrays
from stream.data.workers import worker_pool
from stream.errors import InputError
from stream.files import ARCHIVE_ERRORS
from stream.types import Array

FIT_ARRAYS = ("rotation", "translation", "coefficients", "error")


@dataclass(frozen=True, slots=True)
class PhotoLabels:
    """MediaPipe's results for every photo.

    :ivar landmarks: (n, 478, 3) float64 image pixels, z in the same scale.
    :ivar matrices: (n, 4, 4) float32 poses, y up.
    """

    landmarks: Array
    matrices: Array


@dataclass(frozen=True, slots=True)
class FittedPhotos:
    """A folder of photos, the fits to them and the landmark correspondence they were made with."""

    folder: Path
    labels: PhotoLabels
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


def load_labels(folder: Path) -> PhotoLabels:
    """Read ``labels.npz`` of a folder of photos.

    :raises InputError: it is missing or malformed.
    """
    try:
        with np.load(folder / "labels.npz", allow_pickle=False) as data:
            landmarks, matrices = data["landmarks"].astype(np.float64), data["matrix"]
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{folder} has no usable labels.npz: {error}.") from error
    if landmarks.shape[1:] != (LANDMARKS, 3) or matrices.shape != (len(landmarks), 4, 4):
        raise InputError(f"{folder}/labels.npz holds arrays of unexpected shapes.")
    if not np.isfinite(landmarks).all() or not np.isfinite(matrices).all():
        raise InputError(f"{folder}/labels.npz holds values that are not finite; label the photos again.")
    landmarks *= PHOTO_SIDE
    landmarks[..., :2] -= 0.5
    return PhotoLabels(landmarks, matrices)


def fit_photos(
    model: HeadModel,
    folder: Path,
    cache: Path,
    points: Correspondence,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> FittedPhotos:
    """Fits to all photos of ``folder``, from ``cache`` (an .npz file) where it holds them.

    :param points: where the landmarks lie on ``model``.
    :param progress: called with photos done and photos in all.
    :raises InputError, ModelError: labels or head model are missing or damaged.
    :raises OutputError: ``cache`` cannot be written or its disk is full.
    """
    labels = load_labels(folder)
    fits = _load_cache(cache, len(labels.landmarks), points)
    if fits is None:
        fits = _fit_all(model, labels, points, workers, progress)
        _save_cache(cache, fits, points)
    return FittedPhotos(folder, labels, fits, points)


def _fit_all(
    model: HeadModel,
    labels: PhotoLabels,
    points: Correspondence,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Fits:
    mean, basis = point_basis(model, points)
    rotation, translation = initial_pose(labels.matrices, labels.landmarks)
    count = len(labels.landmarks)
    parts = []
    with worker_pool(workers) as pool:
        jobs = []
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            targets, guess = labels.landmarks[part, :, :2], (rotation[part], translation[part])
            known = (mean, basis, points.use, targets, guess, DENSE_SIGMA, model.identities)
            jobs.append(pool.submit(fit_points, *known))
        for job in jobs:
            parts.append(job.result())
            if progress is not None:
                progress(min(len(parts) * CHUNK, count), count)
    return join_fits(parts)


def _save_cache(path: Path, fits: Fits, points: Correspondence) -> None:
    arrays = {name: getattr(fits, name) for name in FIT_ARRAYS}
    save_arrays(path, arrays | {"vertices": points.vertices, "weights": points.weights})


def _load_cache(path: Path, count: int, points: Correspondence) -> Fits | None:
    """Fits from the cache; None where it is missing, damaged, or made for other photos or landmarks."""
    try:
        with np.load(path, allow_pickle=False) as data:
            fits = Fits(*(data[name] for name in FIT_ARRAYS))
            same = np.array_equal(data["vertices"], points.vertices) and np.allclose(
                data["weights"], points.weights, atol=1e-5
            )
    except ARCHIVE_ERRORS:
        return None
    return fits if same and len(fits.error) == count else None
