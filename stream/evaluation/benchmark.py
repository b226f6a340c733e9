"""Runs the live chain over a source and measures it: as fast as it goes, and offered at camera rates.

Every figure includes copies, pre- and post-processing; percentiles start after a warm-up, and every
dropped frame is counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from stream.config import Settings
from stream.errors import BackendError, FaceError, ProsoponError
from stream.evaluation.keep import KeepCaptures
from stream.evaluation.machine import describe_machine
from stream.evaluation.unit import in_units, unit_times
from stream.evaluation.usage import UsageWatch
from stream.pipeline.demand import EVERY, Demand
from stream.pipeline.stage import Stage
from stream.recipes import CaptureSettings, device_stage
from stream.session import PICTURE, Session
from stream.sources.factory import open_source
from stream.types import Capture

log = logging.getLogger(__name__)

UNPACED, DEVICE = "unpaced", "device"
"""The name of a run, and of the stage on the GPU."""


class BenchSettings(Settings):
    """What is run and for how long.

    :ivar frames: frames measured in each run, after ``warmup`` frames that are not; those are all of the
        sample's, which draws each of its own once.
    :ivar rates: offered frames per second of the paced runs.
    :ivar decode: who decodes a video file, the CPU or the GPU (NVDEC), where it can.
    :ivar render: draw each mesh into a ``render_size`` x ``render_size`` picture too.
    """

    source: str = "sample"
    frames: int = Field(300, ge=10, le=1_000_000)
    warmup: int = Field(120, ge=1, le=100_000)
    rates: tuple[float, ...] = (30.0, 60.0)
    decode: Literal["cpu", "nvdec"] = "cpu"
    render: bool = True
    render_size: int = Field(512, ge=64, le=4096)
    capture: CaptureSettings = CaptureSettings()


def run_benchmark(
    settings: BenchSettings, progress: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """The unpaced run, then one run per offered rate.

    :param progress: told the name of each run before it starts.
    :returns: ``fps``, ``latency_ms`` {p50, p95, p99}, ``stages`` {name: {p50, p95, p99, rate, drops, ...}},
        ``drops``, ``faces`` (share of the frames that show one), ``rss_mb``, ``cpu_percent`` of the unpaced
        run; under ``runs`` the same for each run by name (``unpaced``, ``30 fps``, ...); what
        `stream.evaluation.unit.in_units` gives; ``machine`` and ``settings``; and where frames stay on the
        GPU ``device``, of `measure_device`.
    :raises FaceError: the frames of a run show no face, so that there was next to nothing to do.
    :raises ProsoponError: the source, a model or a backend is not to be had, or it was stopped.
    """
    settings = _drawable(settings)
    progress("the unit")
    runs, looks = {}, [unit_times()]
    for rate in (None, *settings.rates):
        name = UNPACED if rate is None else f"{rate:g} fps"
        progress(name)
        runs[name] = measure(settings, rate)
        looks.append(unit_times())
    device = {}
    if DEVICE in runs[UNPACED]["stages"]:
        progress("the GPU's steps and kernels")
        device = {"device": measure_device(settings)}
    return {
        **runs[UNPACED],
        **device,
        "runs": runs,
        **in_units(runs, looks),
        "machine": describe_machine(),
        "settings": settings.model_dump(mode="json"),
    }


def measure(settings: BenchSettings, rate: float | None) -> dict[str, Any]:
    """One run: unpaced where ``rate`` is None (nothing dropped), else offered at ``rate`` (newest wins)."""
    source = open_source(settings.source, rate=rate, fast=rate is None, loop=True, decode=settings.decode)
    with UsageWatch() as watch:
        draw = _render_stage(settings)
        wanted = "mesh" if draw is None else PICTURE
        session = Session(
            source,
            [warm := _WarmUp(settings.warmup, watch.begin, wanted)],
            settings.capture,
            draw=draw,
            frames=settings.frames + settings.warmup,
            warmup=settings.warmup,
            window=settings.frames,
        )
        summary = session.run()
    if summary.reason == "stopped":
        raise ProsoponError("The benchmark was stopped before its end; nothing is reported.")
    if not warm.faces:
        raise FaceError(
            f"No frame of {settings.source} that was measured shows a face; measure with another --source."
        )
    figures = summary.metrics
    del figures["stages"][_WarmUp.name], figures["outputs"][_WarmUp.name]
    return {
        **figures,
        "offered_fps": rate,
        "faces": warm.faces / warm.measured,
        "seconds": summary.seconds,
        "cpu_percent": watch.usage.cpu_percent,
        "rss_mb": watch.usage.peak_rss_mb,
        "rss_growth_percent": 100 * (watch.usage.last_rss_mb / watch.usage.first_rss_mb - 1),
    }


def measure_device(settings: BenchSettings) -> dict[str, Any]:
    """What the GPU does with the source's frames, by its own clock, beside what its memory can copy.

    :returns: ``gpu`` and ``copy_gb_s``, its name and measured copy bandwidth; ``frame``, of
        `stream.evaluation.device_frames.frame_times`; ``kernels``, of `device_kernels.kernel_times`.
    """
    from stream.compute.cuda.current import current_driver
    from stream.evaluation.device_frames import frame_times
    from stream.evaluation.device_kernels import copy_bandwidth, kernel_times

    driver = current_driver()
    bandwidth = copy_bandwidth(driver)
    captures = _tracked(settings)
    return {
        "gpu": driver.info.name,
        "copy_gb_s": bandwidth / 1e9,
        "frame": frame_times(
            lambda graphs: device_stage(settings.capture, graphs), captures, settings.frames
        ),
        "kernels": [asdict(kernel) for kernel in kernel_times(driver, bandwidth)],
    }


def _tracked(settings: BenchSettings, frames: int = 60) -> list[Capture]:
    """The source's first frames with their faces.

    :raises FaceError: none of them shows a face.
    """
    return first_captures(settings, "face", frames)


def first_captures(settings: BenchSettings, wanted: str, frames: int) -> list[Capture]:
    """Those of the source's first frames that show somebody, with one field of people worked out.

    :raises FaceError: none of them shows a face.
    """
    keep = KeepCaptures(wanted)
    source = open_source(settings.source, fast=True, loop=True, decode=settings.decode)
    Session(source, [keep], settings.capture, frames=frames).run()
    captures = [capture for capture in keep.captures if capture.people]
    if not captures:
        raise FaceError("The source's first frames show no face; measure with another --source.")
    return captures


def _drawable(settings: BenchSettings) -> BenchSettings:
    """The settings, without rendering where this machine cannot draw."""
    if not settings.render:
        return settings
    from stream.render.context import probe_context

    try:
        probe_context("egl")
    except BackendError as error:
        log.warning("Measuring without rendering. %s", error)
        return settings.model_copy(update={"render": False})
    return settings


def _render_stage(settings: BenchSettings) -> Stage | None:
    if not settings.render:
        return None
    from stream.render.stage import RenderStage

    return RenderStage(size=settings.render_size)


class _WarmUp:
    """A sink that calls back once the warm-up's captures came through, and counts those that follow.

    :ivar measured: captures since then.
    :ivar faces: those of them that show somebody.
    """

    name = "warm-up"

    def __init__(self, captures: int, done: Callable[[], None], wanted: str) -> None:
        self.wants: Demand = {wanted: EVERY}
        self.measured = self.faces = 0
        self._left = captures
        self._done = done

    def open(self) -> None:
        """Nothing to take."""

    def __call__(self, capture: Capture) -> Capture:
        """Count, and pass the capture on."""
        if self._left <= 0:
            self.measured += 1
            self.faces += bool(capture.people)
        self._left -= 1
        if self._left == 0:
            self._done()
        return capture

    def close(self) -> None:
        """Nothing to give back."""
