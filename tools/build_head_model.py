"""Write stream/face/head_model.npz: the place of each MediaPipe landmark on the mean ICT-FaceKit head.

Usage: python tools/build_head_model.py --shared ../shared
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stream.data.faces.correspond import HEAD_MODEL, OUTLINE, find_correspondence, head_model_arrays
from stream.data.faces.dataset import TRAIN_PHOTOS
from stream.data.faces.ict import load_head_model
from stream.data.faces.photos import load_labels
from stream.types import Array

SAMPLE_STEP = 10
"""Every tenth training photo is enough."""


def aligned_rms(points: Array, reference: Array) -> float:
    """RMS distance (units of ``reference``) after the best similarity transform of ``points`` (Umeyama)."""
    a, b = points - points.mean(axis=0), reference - reference.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    moved = a @ (u @ vt) * (s.sum() / (a**2).sum())
    return float(np.sqrt(((moved - b) ** 2).sum(axis=1).mean()))


def main() -> None:
    """Find the places from the training photos, write them, and report how they compare with MediaPipe's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    data = parser.parse_args().shared / "data"
    model = load_head_model(data / "ict_facekit.npz")
    labels = load_labels(data / "faces")
    chosen = np.arange(TRAIN_PHOTOS.start, TRAIN_PHOTOS.stop, SAMPLE_STEP)
    found = find_correspondence(model, labels.landmarks[chosen], labels.matrices[chosen])
    arrays = head_model_arrays(model, found)
    np.savez(HEAD_MODEL, **arrays)
    print(f"wrote {HEAD_MODEL.name}: {len(arrays['points'])} points from {len(chosen)} photos")
    canonical = data / "models" / "canonical_face_model.obj"
    if canonical.is_file():
        lines = canonical.read_text(encoding="utf-8").splitlines()
        other = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
        inner = np.setdiff1d(np.arange(len(other)), OUTLINE)
        for name, chosen in (("all 468 points", np.arange(len(other))), ("all but the outline", inner)):
            rms = aligned_rms(other[chosen] * [10, -10, -10], arrays["points"][chosen].astype(float))
            print(f"RMS distance to MediaPipe's canonical face, {name}: {rms:.2f} mm")


if __name__ == "__main__":
    main()
