"""Faces whose expression is known, and how well coefficients follow a known or a teacher's course."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.data.faces.fit import Correspondence
from stream.data.faces.head import EYES, HeadModel
from stream.data.faces.sampling import gaze_expressions, turn
from stream.expression.arkit import ARKIT_NAMES, arkit_name
from stream.geometry import INTER_PUPIL_MM, intrinsics_from_fov, project
from stream.types import Array, Intrinsics

RATE = 30.0
SIZE = (640, 480)

NOISE_MM = 0.35
"""Standard deviation of a landmark's trembling, on each axis, as `stream.face.filters` leaves it."""

HABIT_MM = 0.7
"""Standard deviation of how far a tracker puts a landmark off its place on one face, all the time."""

DEPTH_NOISE_MM = 6.0
"""Standard deviation of what a tracker's guessed depth is off, on one face, all the time."""

VARIES = 0.05
"""A course with a smaller standard deviation is no course: its correlation would be of noise."""

IRISES = {"R": slice(468, 473), "L": slice(473, 478)}


@dataclass(frozen=True, slots=True)
class Performance:
    """A face that is known and seen by a camera.

    :ivar coefficients: (T, 52) float32, what it does, ARKit's.
    :ivar landmarks: (T, 478, 3) float32, as a tracker gives them (`stream.types.Face`).
    :ivar times: (T,) seconds.
    """

    coefficients: Array
    landmarks: Array
    times: Array
    intrinsics: Intrinsics


def perform(model: HeadModel, points: Correspondence, seed: int, seconds: float = 12.0) -> Performance:
    """Somebody drawn from the head model who moves the head, the eyes and the face at random.

    Nothing of it is drawn as a picture: the landmarks are where the model's points are seen, less precisely,
    and moved by a habit of this face. It begins with a face at rest as often as not.
    """
    random = np.random.default_rng(seed)
    count = int(seconds * RATE)
    times = np.arange(count) / RATE
    codes, gazes = _movements(random, model, times), _gazes(random, times)
    for code, gaze in zip(codes, gazes, strict=True):
        lids = gaze_expressions(model, gaze)
        code[lids > 0] = lids[lids > 0]
    identity = np.clip(random.normal(size=model.identities), -3, 3)
    basis = points.place(model.basis.reshape(len(model.basis), -1, 3))
    still = points.place(model.mean) + np.tensordot(identity, basis[: model.identities], 1)
    moved = still + np.tensordot(codes, basis[model.identities :], 1)
    for side, places in IRISES.items():
        _turn_iris(model, moved, places, side, gazes)
    moved = moved * (INTER_PUPIL_MM / np.linalg.norm(still[468] - still[473]))
    intrinsics = intrinsics_from_fov(*SIZE)
    landmarks = _seen(random, moved, times, intrinsics)
    arkit = np.zeros((count, len(ARKIT_NAMES)), np.float32)
    for name, course in zip(model.expressions, codes.T, strict=True):
        if arkit_name(name) in ARKIT_NAMES:
            place = ARKIT_NAMES.index(arkit_name(name))
            arkit[:, place] = np.maximum(arkit[:, place], course)
    return Performance(arkit, landmarks, times, intrinsics)


def _movements(random: Generator, model: HeadModel, times: Array) -> Array:
    """(T, E) coefficients: movements that rise, stay and fall, left and right mostly together."""
    names = model.expressions
    stems = sorted({name.removesuffix("_L").removesuffix("_R") for name in names})
    stems = [s for s in stems if not s.startswith(("eyeLook", "PupilDilate", "cheekRaiser", "mouthClose"))]
    codes = np.zeros((len(times), len(names)))
    begins = 0.0 if random.random() < 0.5 else 1.0
    for _ in range(int(times[-1] * 2.0)):
        stem = stems[random.integers(len(stems))] if random.random() > 0.25 else "eyeBlink"
        brief = stem == "eyeBlink"
        rise = 0.1 if brief else random.uniform(0.15, 0.5)
        hold = 0.1 if brief else random.uniform(0.2, 1.5)
        start = random.uniform(begins - 1.0, times[-1])
        course = np.interp(times, start + np.array([0, rise, rise + hold, 2 * rise + hold]), [0, 1, 1, 0])
        both = stem.startswith(("brow" + "Inner", "cheekPuff")) or random.random() < 0.7
        amount = random.uniform(0.7, 1.0) if brief else random.uniform(0.2, 1.0)
        chosen = random.integers(2)
        for i, side in enumerate("LR"):
            for name in (f"{stem}_{side}", stem):
                if name in names and (name == stem or both or i == chosen):
                    column = codes[:, names.index(name)]
                    np.maximum(column, course * amount, out=column)
    jaw = codes[:, names.index("jawOpen")]
    # Lips that close as the jaw opens, now and then.
    codes[:, names.index("mouthClose")] = jaw * 0.7 * (random.random() < 0.5)
    return codes


def _gazes(random: Generator, times: Array) -> Array:
    """(T, 2) yaw and pitch of the eyes, radians: looking at one thing after another."""
    gazes = np.zeros((len(times), 2))
    now = 0.0
    while now < times[-1]:
        gazes[times >= now] = np.clip(random.normal(0, (0.2, 0.12)), (-0.5, -0.35), (0.5, 0.35))
        now += random.uniform(0.4, 2.0)
    return gazes


def _turn_iris(model: HeadModel, moved: Array, places: slice, side: str, gazes: Array) -> None:
    """Turn one iris (of ``moved`` (T, 478, 3), in place) about the middle of its eyeball."""
    sign = -1 if side == "R" else 1
    ball = model.mean[(model.part == EYES) & (model.mean[:, 0] * sign > 0)]
    radius = np.array([0, 0, (ball[:, 2].max() - ball[:, 2].min()) / 2])
    for points, (yaw, pitch) in zip(moved[:, places], gazes, strict=True):
        centre = points[0] + radius
        points[:] = (points - centre) @ turn(yaw, pitch).T + centre


def _seen(random: Generator, moved: Array, times: Array, intrinsics: Intrinsics) -> Array:
    """(T, 478, 3) float32 landmarks of points (T, 478, 3) mm of a head that sways before a camera."""
    phases, rates = random.uniform(0, 2 * np.pi, 4), random.uniform(0.05, 0.3, 4)
    sway = np.sin(2 * np.pi * rates * times[:, None] + phases) * np.radians([20, 10, 8, 0])
    distance = random.uniform(400, 800)
    habit = random.normal(0, HABIT_MM, moved.shape[1:])
    depth_habit = random.normal(0, DEPTH_NOISE_MM, moved.shape[1])
    found = np.empty(moved.shape, np.float32)
    for out, points, (yaw, pitch, roll, way) in zip(found, moved, sway, strict=True):
        camera = (points + habit) @ turn(yaw, pitch, roll).T + [40 * way, 0, distance]
        tremble = random.normal(0, NOISE_MM, camera.shape)
        pixel = intrinsics.fx / distance
        out[:, :2] = project(camera + tremble, intrinsics)
        out[:, 2] = (camera[:, 2] - distance + depth_habit + tremble[:, 2] * 3) * pixel
    return found


def correlations(found: Array, truth: Array) -> dict[str, float]:
    """Pearson's correlation of each coefficient's course (T, 52) with the true one, where that varies."""
    return {
        name: _correlation(found[:, k], truth[:, k])
        for k, name in enumerate(ARKIT_NAMES)
        if truth[:, k].std() > VARIES
    }


def _correlation(found: Array, truth: Array) -> float:
    """0 where ``found`` does not move."""
    if found.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(found, truth)[0, 1])


def mean_errors(found: Array, truth: Array) -> dict[str, float]:
    """Mean absolute difference of each coefficient over (T, 52)."""
    return dict(zip(ARKIT_NAMES, np.abs(found - truth).mean(axis=0).tolist(), strict=True))


def gather(courses: list[tuple[Array, Array]]) -> Iterator[Array]:
    """Found and true courses, all one after another."""
    yield from (np.concatenate(part) for part in zip(*courses, strict=True))
