"""Write stream/expression/basis.npz: how expressions move MediaPipe's landmarks on the mean ICT-FaceKit head.

Usage: python tools/make_expression_basis.py --shared ../shared
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from stream.data.faces.correspond import HEAD_MODEL, stored_correspondence
from stream.data.faces.fit import Correspondence, point_basis
from stream.data.faces.head import HeadModel
from stream.data.faces.ict import load_head_model
from stream.expression.arkit import ARKIT_NAMES, arkit_name
from stream.expression.basis import BASIS, IDENTITY_MODES
from stream.face.tracker import LANDMARKS
from stream.types import Array

NOTHING_MM = 0.02
"""Smaller movements are set to 0, which lets the file be packed."""


def basis_arrays(model: HeadModel, points: Correspondence, scale: float) -> dict[str, Array]:
    """What ``basis.npz`` holds, head frame, mm, scaled to an iris distance of 63 mm as ``head_model.npz`` is.

    ``shapes`` (52, 478, 3) float16: where each of ARKit's expressions at 1 moves the landmarks; the halves of
    what ARKit does not split are added up, and what ICT-FaceKit lacks (tongueOut) moves nothing.
    ``identity`` (I, 478, 3) float16: ICT-FaceKit's first modes of identity, per standard deviation.

    :param scale: as `stream.data.faces.correspond.head_model_arrays` gives.
    """
    _, basis = point_basis(model, points)
    moves = basis.transpose(2, 0, 1) / scale
    shapes = np.zeros((len(ARKIT_NAMES), LANDMARKS, 3))
    for name, move in zip(model.expressions, moves[model.identities :], strict=True):
        if arkit_name(name) in ARKIT_NAMES:
            shapes[ARKIT_NAMES.index(arkit_name(name))] += move
    identity = moves[:IDENTITY_MODES]
    return {"shapes": _packed(shapes), "identity": _packed(identity)}


def _packed(moves: Array) -> Array:
    return np.where(np.abs(moves) < NOTHING_MM, 0, moves).astype(np.float16)


def main() -> None:
    """Read the head model, write the file and tell its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    model = load_head_model(parser.parse_args().shared / "data" / "ict_facekit.npz")
    with np.load(HEAD_MODEL, allow_pickle=False) as stored:
        scale = float(stored["scale"])
    arrays = basis_arrays(model, stored_correspondence(model), scale)
    np.savez_compressed(BASIS, **arrays)
    still = [n for n, shape in zip(ARKIT_NAMES, arrays["shapes"], strict=True) if not shape.any()]
    print(f"wrote {BASIS.name}: {BASIS.stat().st_size / 1000:.0f} kB; moves nothing: {', '.join(still)}")


if __name__ == "__main__":
    main()
