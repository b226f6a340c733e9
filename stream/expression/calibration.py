"""Whose face it is: a followed face's neutral shape, and what it shows at rest, learnt while it is seen."""

from __future__ import annotations

import math

import numpy as np

from stream.expression.arkit import ARKIT_NAMES
from stream.expression.basis import expression_basis
from stream.expression.gaze import LOOK_PLACES
from stream.expression.least_squares import solve
from stream.face.head_model import head_model
from stream.types import Array

MEMORY_SECONDS = 60.0
"""What was seen longer ago counts for less and less."""

PICTURE_SECONDS = 0.5
"""Pictures within this time say the same thing; only together do they count as one."""

QUIET = 0.4
"""What a calm face's coefficients (root of their squares' sum) reach; beyond, a picture says less."""

FARTHEST = 4.0
"""Standard deviations that nobody's identity goes beyond; landmarks of something else would."""

LEAST = 0.02
"""What the liveliest picture still counts."""

RISE = 0.004
"""A second: how slowly what a face does all the time is taken for its rest; ten seconds' smile loses 4 %."""

HIGHEST_REST = 0.15
"""Nothing above this is taken for rest."""

TRUST_SECONDS = 2.0
"""So long a face must have been seen before its rest is taken off in full."""

_MOVING = np.array(
    [place for place, name in enumerate(ARKIT_NAMES) if not name.startswith(("eyeBlink", "eyeLook"))]
)


class Identity:
    """The modes of identity of one face and how sure they are: a Kalman filter that forgets slowly.

    A picture counts the more, the quieter the face in it is, so that whoever smiles for a while does not
    become somebody with a smiling face.

    :ivar modes: (I,) float64, standard deviations of ICT-FaceKit's population.
    :ivar precision: (I, I) float64, the inverse covariance of ``modes``.
    """

    def __init__(self) -> None:
        count = len(expression_basis().identity)
        self.modes = np.zeros(count)
        self.precision = np.eye(count)
        self._goal = np.zeros(count)
        self._first = True

    def neutral(self) -> Array:
        """(478, 3) float32, head frame, mm at an iris distance of 63."""
        identity = expression_basis().identity
        # Without BLAS, as `stream.expression.least_squares` explains.
        return head_model().astype(np.float32) + np.einsum(
            "i,ipc->pc", self.modes.astype(np.float32), identity
        )

    def learn(self, information: Array, pull: Array, coefficients: Array, step: float) -> None:
        """Take in one picture.

        :param information, pull: as `stream.expression.solver.Solution` gives them, at the present modes.
        :param coefficients: (52,) that were solved with them.
        :param step: seconds since the last picture.
        """
        lively = float((coefficients[_MOVING] ** 2).sum()) / QUIET**2
        weight = max(math.exp(-lively / 2), LEAST)
        weight *= 1.0 if self._first else min(step / PICTURE_SECONDS, 1.0)
        self._first = False
        kept = math.exp(-step / MEMORY_SECONDS)
        population = np.eye(len(self.modes))
        self.precision = population + (self.precision - population) * kept + weight * information
        self._goal = self._goal * kept + weight * ((information * self.modes).sum(axis=1) + pull)
        self.modes = self._goal.copy()
        solve(self.precision.copy(), self.modes)
        self.modes = np.clip(self.modes, -FARTHEST, FARTHEST)


class Rest:
    """What a face's coefficients are while it does nothing: their least, which may rise slowly.

    After Martin, "Noise power spectral density estimation based on optimal smoothing and minimum statistics",
    IEEE Trans. Speech Audio Process. 9, 2001, which finds what is always there in the same way.
    """

    def __init__(self) -> None:
        self._level = np.full(len(ARKIT_NAMES), HIGHEST_REST, np.float32)
        self._seconds = 0.0

    def __call__(self, coefficients: Array, step: float) -> Array:
        """(52,) float32 coefficients with rest at 0 and 1 where it was; gaze stays as it is.

        :param step: seconds since the last picture.
        """
        risen = np.minimum(self._level + RISE * step, HIGHEST_REST)
        self._level = np.minimum(risen, coefficients)
        self._level[LOOK_PLACES] = 0
        self._seconds += step
        level = self._level * np.float32(min(self._seconds / TRUST_SECONDS, 1.0))
        return np.maximum(coefficients - level, 0) / (1 - level)
