"""A small stand-in for the training data: a few real photos of each split, repeated, fitted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.data.faces.correspond import DENSE_SIGMA
from stream.data.faces.dataset import SPLITS
from stream.data.faces.fit import Fits, fit_chunks, initial_pose, point_basis
from stream.data.faces.head import HeadModel
from stream.data.faces.photos import FIT_ARRAYS, _save_cache, load_labels
from stream.data.faces.topologies import NAMES, load_topology
from stream.data.shards import ICT

PHOTOS = 24
TOTAL = 5000
REPEATED = np.arange(TOTAL) % PHOTOS
USED = np.concatenate([np.arange(split.start, split.start + PHOTOS) for split in SPLITS.values()])
"""Photos that are there; the fits of all others are so bad that they are never drawn."""


def make_face_data(shared: Path, folder: Path) -> tuple[Path, Path, HeadModel, Fits]:
    """Data and cache folder in which photo i of `USED` is the real photo ``i % PHOTOS``; ICT is fitted."""
    real, data = shared / "data", folder / "data"
    (data / "faces").mkdir(parents=True)
    for name in ("ict_facekit.npz", "makehuman_hair"):
        (data / name).symlink_to(real / name)
    for i in USED:
        (data / "faces" / f"{i:05d}.jpg").symlink_to(real / "faces" / f"{i % PHOTOS:05d}.jpg")
    with np.load(real / "faces" / "labels.npz", allow_pickle=False) as labels:
        arrays = {name: labels[name][:PHOTOS] for name in ("landmarks", "matrix")}
    np.savez(data / "faces" / "labels.npz", **{name: a[REPEATED] for name, a in arrays.items()})
    model, fits = fit_topology(ICT, data, folder / "cache")
    return data, folder / "cache", model, fits


def fit_topology(topology: int, data: Path, cache: Path) -> tuple[HeadModel, Fits]:
    """A head model and its fits to the first `PHOTOS`; those of all are left in ``cache``."""
    model, points = load_topology(topology, data, cache)
    labels = load_labels(data / "faces")
    landmarks = labels.landmarks[:PHOTOS]
    mean, basis = point_basis(model, points)
    pose = initial_pose(labels.matrices[:PHOTOS], landmarks)
    fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, model.identities)
    all_fits = Fits(*(getattr(fits, name)[REPEATED] for name in FIT_ARRAYS))
    all_fits.error[np.setdiff1d(np.arange(TOTAL), USED)] = 1.0
    _save_cache(cache / f"fits_{NAMES[topology]}.npz", all_fits, points)
    return model, fits
