"""The pipeline's expression stage: tracked faces in, their coefficients out."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from stream.compute.backends import AUTO
from stream.errors import BackendError
from stream.expression.basis import expression_basis
from stream.expression.bounded import BoundedSolver
from stream.expression.calibration import Identity, Rest
from stream.expression.gaze import LOOK_PLACES, eye_opening, gaze_angles, look_coefficients
from stream.expression.observation import observe
from stream.expression.solver import SOLVED, ExpressionSolver, Question
from stream.face.filters import MAX_GAP, OneEuroFilter
from stream.face.head_model import check_ipd
from stream.geometry import INTER_PUPIL_MM
from stream.memory import TrackMemory
from stream.types import Array, Capture, Expression, Face, Person

FIRST_STEP = 1 / 30
"""Seconds that the first picture of a face stands for."""

SHUT = 0.3
"""An eye that is open by less than this share of its opening at rest shows no gaze; the last one stays."""


def lid_moves(looks: Array) -> Array:
    """(3, 478) float32 mm by which the lids follow the gaze; ``looks`` (52,) as `look_coefficients` gives."""
    return np.einsum("i,icp->cp", looks[LOOK_PLACES], _lid_shapes())


@functools.cache
def _lid_shapes() -> Array:
    """(8, 3, 478) float32, the eyeLook shapes."""
    return np.ascontiguousarray(expression_basis().shapes[LOOK_PLACES].transpose(0, 2, 1))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A picture's question, when it was asked, how long after the last one, and where the face looks."""

    time: float
    step: float
    looks: Array
    question: Question


class FollowedFace:
    """One face: who it is and what it does, picture by picture.

    :param ipd_mm: the inter-pupil distance that its poses are solved for.
    """

    def __init__(self, solver: ExpressionSolver, ipd_mm: float) -> None:
        self._solver = solver
        self._ipd_mm = ipd_mm
        self._identity = Identity()
        self._rest = Rest()
        self._calm = OneEuroFilter(min_cutoff=3.0, beta=3.0)
        self._coefficients: Array | None = None
        self._gaze = (0.0, 0.0)
        self.seen: float | None = None

    def ask(self, face: Face, time: float) -> _Asked:
        """What a picture asks of the solver.

        :param time: the picture's capture time, seconds.
        """
        step = FIRST_STEP if self.seen is None else max(time - self.seen, 0.0)
        self.seen = time
        neutral = self._identity.neutral()
        displacement, view = observe(face, neutral, self._ipd_mm)
        moved = view.unsee(displacement)
        if eye_opening(neutral, moved) > SHUT:
            self._gaze = gaze_angles(moved)
        looks = look_coefficients(self._gaze)
        displacement -= view.see(lid_moves(looks))
        previous = self._coefficients if step <= MAX_GAP else None
        question = self._solver.ask(displacement, view, self._identity.precision, previous)
        return _Asked(time, step, looks, question)

    def learn(self, asked: _Asked, chosen: Array) -> Array:
        """(52,) float32 coefficients in 0..1 of the picture whose question ``chosen`` answers."""
        solution = self._solver.answer(asked.question, chosen)
        self._coefficients = solution.coefficients
        self._identity.learn(solution.information, solution.pull, solution.coefficients, asked.step)
        coefficients = self._rest(solution.coefficients + asked.looks, asked.step)
        return np.clip(self._calm(coefficients[:, None], asked.time)[:, 0], 0, 1)


class ExpressionStage:
    """Adds ARKit's coefficients of every face to the capture (a `stream.pipeline.stage.Stage`).

    It works from the landmarks alone, for all people of a picture at once. Each face is calibrated while it
    is seen, without being asked to do anything, and anew when the tracker gives it a new number.

    :param ipd_mm: the inter-pupil distance given to the face stage.
    :param memory: where each face's calibration stays while it is followed.
    :param faces: the most that are expected in a picture.
    :param compute: ``auto``, ``numba`` or ``cuda``; see `BoundedSolver`.
    :raises ConfigError: the distance is not within 30..90 mm.
    :ivar bounded: what solves for the coefficients, while the stage is open.
    """

    name = "expression"

    def __init__(
        self,
        ipd_mm: float = INTER_PUPIL_MM,
        memory: TrackMemory | None = None,
        faces: int = 1,
        compute: str = AUTO,
    ) -> None:
        check_ipd(ipd_mm)
        self._ipd_mm, self._faces, self._compute = ipd_mm, faces, compute
        self._memory = TrackMemory() if memory is None else memory
        self._solver: ExpressionSolver | None = None
        self.bounded: BoundedSolver | None = None

    def open(self) -> None:
        """:raises ModelError: a file of the package is missing or damaged."""
        self._solver = ExpressionSolver()
        self.bounded = BoundedSolver(len(SOLVED), self._faces, self._compute)

    def __call__(self, capture: Capture) -> Capture:
        """The capture with the ``expression`` of each of its people."""
        if self.bounded is None:
            raise BackendError("The expression stage is not open; call open() before the first frame.")
        time = capture.frame.captured
        followed = [self._followed(person, time) for person in capture.people]
        asked = [one.ask(person.face, time) for one, person in zip(followed, capture.people, strict=True)]
        chosen = self.bounded([one.question.bounded for one in asked]) if asked else ()
        found = [one.learn(*told) for one, *told in zip(followed, asked, chosen, strict=True)]
        pairs = zip(capture.people, map(Expression, found), strict=True)
        return capture.adding("expression", [replace(person, expression=shown) for person, shown in pairs])

    def close(self) -> None:
        """Let go of the solvers."""
        self._solver = self.bounded = None

    def _followed(self, person: Person, time: float) -> FollowedFace:
        followed = self._memory.recall(person.track_id, self.name, self._follow)
        if followed.seen is not None and time < followed.seen:
            followed = self._memory.renew(person.track_id, self.name, self._follow)
        return followed

    def _follow(self) -> FollowedFace:
        assert self._solver is not None
        return FollowedFace(self._solver, self._ipd_mm)
