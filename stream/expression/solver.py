"""Coefficients of one picture of a face, with its pose and identity free to move as far as they are unsure.

Least squares over all that moves the landmarks. Pose and identity are eliminated from the normal equations
(Schur's complement), which leaves a small problem within 0 and 1 for `stream.expression.bounded`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.expression.arkit import ARKIT_NAMES
from stream.expression.basis import expression_basis
from stream.expression.bounded import Bounded
from stream.expression.gaze import LOOK_PLACES
from stream.expression.least_squares import add_up, eliminate
from stream.expression.observation import PointView
from stream.expression.regions import SKIN, skin_weights
from stream.face.head_model import head_model
from stream.types import Array

SOLVED = np.array(
    [place for place, name in enumerate(ARKIT_NAMES) if place not in LOOK_PLACES and name != "tongueOut"]
)
"""What the skin shows: all but gaze, which the irises show, and the tongue, which has no landmark."""

TURN_SIGMA, SHIFT_SIGMA = 0.05, (4.0, 4.0, 15.0)
"""How far the pose may be off: radians about each axis, and mm along it (z stands for scale, too)."""

VARIANCE = 40.0
"""mm^2 of a landmark's coordinate. It is this large because many of them are wrong together."""

RIDGE, DEAD, SLOW = 0.05, 0.03, 0.07
"""Costs, as shares of what a coefficient moves: of its square, of itself, of its change's square.

The second keeps shapes that resemble each other from sharing one movement, and a face at rest at 0.
"""

COST_POWER, COST_SCALE = 0.42, 40.0
"""What a coefficient moves counts with this power in its costs: strong shapes (jawOpen) need them less."""

COST_FACTORS = {
    "cheekPuff": 3.6,
    **dict.fromkeys(("noseSneerLeft", "noseSneerRight"), 3.0),
    "jawForward": 2.7,
    **dict.fromkeys(("eyeWideLeft", "eyeWideRight"), 2.5),
    **dict.fromkeys(("eyeBlinkLeft", "eyeBlinkRight"), 0.5),
}
"""Factors on the costs: large for shapes that else explain what is identity's or the tracker's own."""

_POSE = 6
_POSE_DIAGONAL = np.diag_indices(_POSE)


@dataclass(frozen=True, slots=True)
class Solution:
    """What `ExpressionSolver` finds.

    :ivar coefficients: (52,) float32; gaze and tongue are 0.
    :ivar information: (I, I) float64, how sure this picture alone, with the pose free, makes identity.
    :ivar pull: (I,) float64, ``information`` times the change of identity that the picture asks for.
    """

    coefficients: Array
    information: Array
    pull: Array


@dataclass(frozen=True, slots=True)
class Question:
    """What one picture asks.

    :ivar normal, pull: the normal equations of pose, identity and coefficients together, (N, N) and (N,)
        float64.
    :ivar bounded: those of the coefficients alone, to be solved within 0 and 1 (`BoundedSolver`).
    """

    normal: Array
    pull: Array
    bounded: Bounded


class ExpressionSolver:
    """Asks what one picture after another shows, and tells what follows of the answers.

    It holds what it needs of the basis in the order in which it is used.
    """

    def __init__(self) -> None:
        basis = expression_basis()
        moves = np.concatenate([_pose_moves(), basis.identity[:, :SKIN], basis.shapes[SOLVED, :SKIN]])
        self._moves = np.ascontiguousarray(moves.transpose(2, 0, 1))
        self._free = _POSE + len(basis.identity)
        self._roots = np.sqrt(skin_weights() / VARIANCE)
        self._factors = np.array([COST_FACTORS.get(ARKIT_NAMES[place], 1.0) for place in SOLVED])

    def ask(self, displacement: Array, view: PointView, precision: Array, previous: Array | None) -> Question:
        """What one picture asks.

        :param displacement: (3, 478) float32 from the neutral face as `stream.expression.observation.observe`
            gives it, less what the lids do that follow the gaze.
        :param precision: (I, I) float64, inverse covariance of identity.
        :param previous: (52,) float32 coefficients of the picture just before, if there is one.
        """
        rows = view.see(self._moves)
        rows *= self._roots
        count = len(self._moves[0])
        normal, pull = np.empty((count, count)), np.empty(count)
        add_up(rows, displacement[:, :SKIN] * self._roots, normal, pull)
        before = None if previous is None else previous[SOLVED]
        return Question(normal, pull, self._bounded(normal, pull, precision, before))

    def answer(self, question: Question, chosen: Array) -> Solution:
        """What follows of the ``chosen`` coefficients (K,) that solve the question's problem."""
        coefficients = np.zeros(len(ARKIT_NAMES), np.float32)
        coefficients[SOLVED] = chosen
        return Solution(coefficients, *self._told_of_identity(question.normal, question.pull, chosen))

    def _bounded(self, normal: Array, pull: Array, precision: Array, before: Array | None) -> Bounded:
        """The problem of the coefficients; pose and identity are free as far as they are unsure."""
        strength = np.diagonal(normal)[self._free :].copy()
        normal, pull = normal.copy(), pull.copy()
        normal[_POSE_DIAGONAL] += 1.0
        normal[_POSE : self._free, _POSE : self._free] += precision
        eliminate(normal, pull, self._free)
        left, asked = normal[self._free :, self._free :].copy(), pull[self._free :].copy()
        cost = strength**COST_POWER * COST_SCALE ** (1 - COST_POWER) * self._factors
        diagonal = np.diag_indices(len(left))
        left[diagonal] += RIDGE * cost
        asked -= DEAD * cost
        if before is None:
            return Bounded(left, asked, np.zeros(len(asked), np.float32))
        left[diagonal] += SLOW * strength
        return Bounded(left, asked + SLOW * strength * before, before)

    def _told_of_identity(self, normal: Array, pull: Array, chosen: Array) -> tuple[Array, Array]:
        """`Solution.information` and ``pull``: what the ``chosen`` coefficients (K,) leave to identity."""
        free = self._free
        block = normal[:free, :free].copy()
        block[_POSE_DIAGONAL] += 1.0
        left = pull[:free] - (normal[:free, free:] * chosen).sum(axis=1)
        eliminate(block, left, _POSE)
        return block[_POSE:, _POSE:].copy(), left[_POSE:].copy()


def _pose_moves() -> Array:
    """(6, 468, 3) float32 mm: turns about and shifts along the axes, each by its spread."""
    points = head_model()[:SKIN]
    axes = np.eye(3)
    turns = [np.cross(axis, points) * TURN_SIGMA for axis in axes]
    shifts = [
        np.broadcast_to(axis * sigma, points.shape) for axis, sigma in zip(axes, SHIFT_SIGMA, strict=True)
    ]
    return np.stack([*turns, *shifts]).astype(np.float32)
