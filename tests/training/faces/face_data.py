"""A small stand-in for the training data: a few real photos, repeated, fitted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.training.faces.correspond import DENSE_SIGMA, stored_correspondence
from stream.training.faces.fit import Fits, fit_chunks, initial_pose, point_basis
from stream.training.faces.head import HeadModel
from stream.training.faces.ict import load_head_model
from stream.training.faces.photos import FIT_ARRAYS, _save_cache, load_labels

PHOTOS = 24
TOTAL = 5000


def make_face_data(shared: Path, folder: Path) -> tuple[Path, Path, HeadModel, Fits]:
    """Data folder and cache of fits in which photo i is the real photo ``i % PHOTOS``."""
    real, data = shared / "data", folder / "data"
    (data / "faces").mkdir(parents=True)
    for name in ("ict_facekit.npz", "makehuman_hair"):
        (data / name).symlink_to(real / name)
    for i in range(TOTAL):
        (data / "faces" / f"{i:05d}.jpg").symlink_to(real / "faces" / f"{i % PHOTOS:05d}.jpg")
    repeated = np.arange(TOTAL) % PHOTOS
    with np.load(real / "faces" / "labels.npz", allow_pickle=False) as labels:
        arrays = {name: labels[name][:PHOTOS] for name in ("landmarks", "matrix")}
    np.savez(data / "faces" / "labels.npz", **{name: a[repeated] for name, a in arrays.items()})
    model = load_head_model(real / "ict_facekit.npz")
    points = stored_correspondence(model)
    labels = load_labels(data / "faces")
    landmarks, matrices = labels.landmarks[:PHOTOS], labels.matrices[:PHOTOS]
    mean, basis = point_basis(model, points)
    pose = initial_pose(matrices, landmarks)
    fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, model.identities)
    cache = folder / "fits.npz"
    _save_cache(cache, Fits(*(getattr(fits, name)[repeated] for name in FIT_ARRAYS)), points)
    return data, cache, model, fits
