"""Write stream/face/head_model.npz: the place of each MediaPipe landmark on the mean ICT-FaceKit head.

Usage: python tools/build_head_model.py --shared ../shared [--cache cache/fits.npz]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stream.geometry import INTER_PUPIL_MM
from stream.training.ict import load_head_model
from stream.training.photos import fit_photos
from stream.types import Array

TARGET = Path(__file__).parents[1] / "stream" / "face" / "head_model.npz"
RIGHT_IRIS, LEFT_IRIS = 468, 473


def aligned_rms(points: Array, reference: Array) -> float:
    """RMS distance (units of ``reference``) after the best similarity transform of ``points`` (Umeyama)."""
    a, b = points - points.mean(axis=0), reference - reference.mean(axis=0)
    u, s, vt = np.linalg.svd(a.T @ b)
    moved = a @ (u @ vt) * (s.sum() / (a**2).sum())
    return float(np.sqrt(((moved - b) ** 2).sum(axis=1).mean()))


def main() -> None:
    """Fit (or read the cached fits), place the landmarks, scale, write, and report the fit to MediaPipe's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--cache", type=Path, default=Path("cache/fits.npz"))
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    model = load_head_model(data / "ict_facekit.npz")
    photos = fit_photos(model, data / "faces", arguments.cache)
    places = photos.points.place(model.mean)
    scale = INTER_PUPIL_MM / np.linalg.norm(places[RIGHT_IRIS] - places[LEFT_IRIS])
    points = (places * scale).astype(np.float32)
    np.savez(TARGET, points=points)
    print(f"wrote {TARGET.name}: {len(points)} points; median fit error {np.median(photos.fits.error):.4f}")
    canonical = data / "models" / "canonical_face_model.obj"
    if canonical.is_file():
        lines = canonical.read_text(encoding="utf-8").splitlines()
        other = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
        rms = aligned_rms(other * [10, -10, -10], points[: len(other)].astype(float))
        print(f"RMS distance to MediaPipe's canonical face after alignment: {rms:.2f} mm")


if __name__ == "__main__":
    main()
