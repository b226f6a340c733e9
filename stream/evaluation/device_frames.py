"""How long a frame takes on a GPU from picture to mesh: wall time, and device time of each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stream.compute.cuda.arrays import empty
from stream.compute.cuda.current import current_driver
from stream.device.frame import STEPS
from stream.device.stage import DeviceStage
from stream.evaluation.device_kernels import COPIED
from stream.types import Capture

COPIES = 40
"""Copies of `COPIED` bytes that keep the GPU busy while a frame is queued: 5 ms where 4 TB/s are copied."""

WARM_UP = 20
"""Frames before any is counted: libraries compile and choose their kernels, graphs are captured."""


def frame_times(
    make: Callable[[bool], DeviceStage], captures: Sequence[Capture], frames: int = 300
) -> dict[str, Any]:
    """Run the captures, over and over, through a stage of its own twice: with graphs, then without.

    :param make: gives a stage that replays graphs or does not.
    :param captures: with faces; their times are set anew, 1/30 s apart.
    :returns: ``wall_ms`` of the first run, copies, host work and the wait included, {p50, p95, p99};
        ``replayed``, the share of its frames that were one graph launch; ``steps_ms`` of the second, device
        time of each of `STEPS`, {p50, p95, share of their sum}.
    :raises ProsoponError: the stage cannot be opened or fails.
    """
    walls, _, replayed = _run(make(True), captures, frames, busy=False)
    _, steps, _ = _run(make(False), captures, frames, busy=True)
    total = sum(float(np.median(steps[name])) for name in STEPS)
    return {
        "wall_ms": _percentiles(walls, 50, 95, 99),
        "replayed": replayed,
        "steps_ms": {
            name: _percentiles(steps[name], 50, 95)
            | {"share": float(np.median(steps[name])) / total if total else 0.0}
            for name in STEPS
        },
    }


def _run(
    stage: DeviceStage, captures: Sequence[Capture], frames: int, busy: bool
) -> tuple[list[float], dict[str, list[float]], float]:
    """Milliseconds of each frame, of each step where they are timed, and the share of replayed frames.

    :param busy: keep the GPU at work before each frame until all its steps are queued, so that they run back
        to back; else their times would be those of Python between the launches.
    """
    walls: list[float] = []
    steps: dict[str, list[float]] = {name: [] for name in STEPS}
    try:
        stage.open()
        frame = stage.frame
        assert frame is not None
        driver, copies = current_driver(), COPIES if busy else 0
        ballast = [empty(driver, (COPIED if busy else 1,), "uint8") for _ in range(2)]
        for number in range(-WARM_UP, frames):
            if number == 0:
                before = frame.replayed
            capture = captures[number % len(captures)]
            shown = _at(capture, number / 30)
            for _ in range(copies):
                driver.copy(ballast[0].pointer, ballast[1].pointer, COPIED, frame.stream)
            start = time.perf_counter()
            stage(shown)
            if number >= 0:
                walls.append((time.perf_counter() - start) * 1e3)
                for name, value in frame.milliseconds.items():
                    steps[name].append(value)
        return walls, steps, (frame.replayed - before) / frames
    finally:
        stage.close()


def _at(capture: Capture, seconds: float) -> Capture:
    return replace(capture, frame=replace(capture.frame, captured=seconds))


def _percentiles(values: Sequence[float], *wanted: int) -> dict[str, float]:
    return {f"p{one}": float(np.percentile(values, one)) for one in wanted}
