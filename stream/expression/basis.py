"""How expressions and identities move MediaPipe's landmarks: ICT-FaceKit's shapes, by ARKit's names."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream.errors import ModelError
from stream.expression.arkit import ARKIT_NAMES
from stream.face.tracker import LANDMARKS
from stream.files import ARCHIVE_ERRORS
from stream.types import Array

BASIS = Path(__file__).parent / "basis.npz"
"""Made by tools/make_expression_basis.py; derived from ICT-FaceKit (MIT, see NOTICE)."""

IDENTITY_MODES = 25
"""Principal components of identity in the file; those after them move the landmarks by 0.3 mm or less."""


@dataclass(frozen=True, slots=True)
class ExpressionBasis:
    """Displacements of the landmarks of `stream.face.head_model`, head frame, mm at an iris distance of 63.

    :ivar shapes: (52, 478, 3) float32, each of `ARKIT_NAMES` at 1. Those that ICT-FaceKit lacks (tongueOut)
        are 0; the eyeLook shapes move the lids only, not the irises.
    :ivar identity: (I, 478, 3) float32, modes of identity per standard deviation.
    """

    shapes: Array
    identity: Array


@functools.cache
def expression_basis() -> ExpressionBasis:
    """The basis that is part of the package; its arrays are read-only.

    :raises ModelError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(BASIS.read_bytes()), allow_pickle=False) as arrays:
            shapes, identity = (arrays[name].astype(np.float32) for name in ("shapes", "identity"))
    except ARCHIVE_ERRORS as error:
        raise ModelError(
            f"The expression basis {BASIS.name} is not usable ({error}); install prosopon again."
        ) from error
    expected = (len(ARKIT_NAMES), LANDMARKS, 3), (IDENTITY_MODES, LANDMARKS, 3)
    if (shapes.shape, identity.shape) != expected or not all(
        np.isfinite(a).all() for a in (shapes, identity)
    ):
        raise ModelError(f"The expression basis {BASIS.name} is damaged; install prosopon again.")
    for array in (shapes, identity):
        array.setflags(write=False)
    return ExpressionBasis(shapes, identity)
