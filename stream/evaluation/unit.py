"""The unit in which the benchmark's figures can be compared between machines, and between hours of one.

One unit is the time that MediaPipe's face mesh with irises takes for a 640x480 frame in which it follows a
face, on one thread. It goes up and down with the machine and with its neighbours, as what is measured
does, so ratios to it travel where milliseconds do not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stream.errors import FaceError
from stream.face.mediapipe_mesh import open_mesh
from stream.face.quiet import QuietStart
from stream.sources.sample import SampleSource
from stream.types import Array

FRAMES = 100
"""Frames of one look at the unit: about a third of a second."""

WARM_UP = 15
"""Frames before those: the face is found, and the networks settle."""


def unit_times(frames: int = FRAMES) -> list[float]:
    """Milliseconds that MediaPipe takes for each of the sample's frames, pinned to one core.

    :raises BackendError: MediaPipe cannot run here.
    :raises FaceError: it loses the sample's face.
    """
    pictures = _pictures(min(frames, 30))
    times = []
    with _one_core():  # MediaPipe's threads, which start in here, inherit it
        mesh, quiet = open_mesh(1, static=False), QuietStart()
        try:
            for number in range(-WARM_UP, frames):
                with quiet.next():
                    begun = time.perf_counter()
                    found = mesh.process(pictures[number % len(pictures)]).multi_face_landmarks
                    took = (time.perf_counter() - begun) * 1e3
                if number >= 0:
                    times.append(took)
                    if not found:
                        raise FaceError("MediaPipe loses the sample's face, so there is no unit.")
        finally:
            mesh.close()
    return times


def in_units(runs: dict[str, dict[str, Any]], looks: Sequence[Sequence[float]]) -> dict[str, Any]:
    """A benchmark's runs in units.

    :param runs: by name, of `stream.evaluation.benchmark.measure`.
    :param looks: `unit_times` before the first run and after each.
    :returns: ``unit_ms``, the median of all; ``unit_looks_ms``, that of each look, which tell how much the
        machine's speed changed meanwhile; ``units``, for each run ``cpu_a_frame``, ``frames_a_unit`` and
        ``latency_p95``, capture to the end of the chain (``None`` where too little came through).
    """
    unit = float(np.median(np.concatenate([np.asarray(look) for look in looks])))
    return {
        "unit_ms": unit,
        "unit_looks_ms": [float(np.median(look)) for look in looks],
        "units": {name: _run_in_units(run, unit) for name, run in runs.items()},
    }


def _run_in_units(run: dict[str, Any], unit: float) -> dict[str, float | None]:
    rate, cpu, late = run["fps"], run["cpu_percent"], run["latency_ms"]["p95"]
    return {
        "cpu_a_frame": 10 * cpu / rate / unit if rate and cpu else None,
        "frames_a_unit": rate * unit / 1e3,
        "latency_p95": None if late is None else late / unit,
    }


def _pictures(count: int) -> list[Array]:
    source = SampleSource(None, size=(640, 480), fast=True)
    source.open()
    try:
        frames = [source.read() for _ in range(count)]
    finally:
        source.close()
    return [frame.image for frame in frames if frame is not None]


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Keep this thread, and those it starts, on one core for the block, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
