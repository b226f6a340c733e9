"""Write tests/data/golden.npz: what the live chain makes of the sample, for changes that must change nothing.

Usage: python tools/make_golden.py [FILE]

Made anew only where a change is meant to change meshes; the commit says why.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stream import CaptureSettings, Session
from stream.evaluation.keep import KeepCaptures
from stream.pipeline.demand import EVERY
from stream.sources.sample import SampleSource
from stream.types import Array, Capture

FRAMES = 6
"""Of the sample; smoothing has a past from the second on."""

EVERY_NTH = 23
"""One vertex in so many is kept: a prime, so that all columns of the grid have their turn."""

SETTINGS = CaptureSettings(inference="onnxruntime", compute="numba", threads=1)
"""One thread and one library, so that sums are added up in one order."""

GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "golden.npz"


def captures() -> list[Capture]:
    """The sample's first frames with mesh and expression of the one face in them."""
    sink = KeepCaptures("mesh")
    sink.wants = {"mesh": EVERY, "expression": EVERY}
    Session(SampleSource(fast=True), [sink], SETTINGS, frames=FRAMES).run()
    return sink.captures


def described(found: list[Capture]) -> dict[str, Array]:
    """What is kept of F captures of one face.

    :returns: ``vertices`` (F, V, 3) float32 mm, one in `EVERY_NTH`; ``valid`` (F, S * S) packed to bits;
        ``triangles`` (F,), how many; ``expressions`` (F, 52) and ``poses`` (F, 4, 4) float32.
    """
    people = [capture.people[0] for capture in found]
    meshes = [mesh for capture in found for mesh in capture.meshes]
    coefficients = [one.expression.coefficients for one in people if one.expression is not None]
    return {
        "vertices": np.stack([mesh.vertices[::EVERY_NTH] for mesh in meshes]),
        "valid": np.stack([np.packbits(mesh.valid) for mesh in meshes]),
        "triangles": np.array([len(mesh.triangles) for mesh in meshes]),
        "expressions": np.stack(coefficients),
        "poses": np.stack([one.face.pose for one in people]),
    }


def main() -> None:
    """Write the file."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    np.savez_compressed(path, **described(captures()))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
