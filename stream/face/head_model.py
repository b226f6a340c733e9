"""The mean head on which poses are solved."""

from __future__ import annotations

import functools
import io
from importlib import resources

import numpy as np

from stream.errors import ConfigError, ModelError
from stream.face.tracker import LANDMARKS
from stream.files import ARCHIVE_ERRORS
from stream.geometry import INTER_PUPIL_MM
from stream.types import Array

MIN_IPD_MM, MAX_IPD_MM = 30.0, 90.0
"""From an infant's inter-pupil distance to beyond the widest adult's."""


def check_ipd(ipd_mm: float) -> None:
    """:raises ConfigError: the inter-pupil distance is not within 30..90 mm."""
    if not MIN_IPD_MM <= ipd_mm <= MAX_IPD_MM:
        raise ConfigError(
            f"The inter-pupil distance is {ipd_mm} mm but must be between {MIN_IPD_MM:g} and {MAX_IPD_MM:g}."
        )


def head_model(ipd_mm: float = INTER_PUPIL_MM) -> Array:
    """(478, 3) float64: where MediaPipe's landmarks sit on the mean head, head frame, mm.

    :param ipd_mm: the person's inter-pupil distance; the whole head scales with it.
    :raises ConfigError: the distance is not within 30..90 mm.
    :raises ModelError: the model file that is part of the package is missing or damaged.
    """
    check_ipd(ipd_mm)
    return _unit_model() * (ipd_mm / INTER_PUPIL_MM)


@functools.cache
def _unit_model() -> Array:
    try:
        data = resources.files("stream.face").joinpath("head_model.npz").read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            points = arrays["points"].astype(np.float64)
    except ARCHIVE_ERRORS as error:
        raise ModelError(
            f"The head model stream/face/head_model.npz is not usable ({error}); install prosopon again."
        ) from error
    if points.shape != (LANDMARKS, 3) or not np.isfinite(points).all():
        raise ModelError("The head model stream/face/head_model.npz is damaged; install prosopon again.")
    points.setflags(write=False)
    return points
