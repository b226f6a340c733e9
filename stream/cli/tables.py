"""Tables and JSON that several commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from stream.cli.words import PlainConsole
from stream.files import atomic_path, try_output

console = PlainConsole()
"""Standard output; narrower terminals fold the tables."""


def stage_table(metrics: dict[str, Any], title: str) -> Table:
    """The stages of one run with their times, rates and losses (`stream.pipeline.metrics`)."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("stage")
    for heading in ("p50 ms", "p95 ms", "p99 ms", "per second", "dropped", "failed"):
        table.add_column(heading, justify="right")
    for name, stage in metrics["stages"].items():
        table.add_row(name, *_times(stage), f"{stage['rate']:.1f}", str(stage["drops"]), str(stage["errors"]))
    table.add_section()
    chain = [name for name in metrics["stages"] if name not in metrics["outputs"]]
    whole = (*_times(metrics["latency_ms"]), f"{metrics['fps']:.1f}", str(metrics["drops"]))
    table.add_row(f"capture to {chain[-1]}", *whole, "")
    for name, latency in metrics["outputs"].items():
        table.add_row(f"capture to {name}", *_times(latency), "", "", "")
    return table


def unit_table(result: dict[str, Any], drawn: bool) -> Table:
    """A benchmark's runs in units (`stream.evaluation.unit`).

    :param drawn: each frame's mesh was drawn, too.
    """
    low, high = min(result["unit_looks_ms"]), max(result["unit_looks_ms"])
    title = f"in units of {result['unit_ms']:.2f} ms ({low:.2f} to {high:.2f} between runs)"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("run")
    latency = f"p95 capture to {'picture' if drawn else 'mesh'}"
    for heading in ("CPU a frame", "frames a unit", latency):
        table.add_column(heading, justify="right")
    for name, run in result["units"].items():
        cpu, late = (
            "-" if value is None else f"{value:.1f}" for value in (run["cpu_a_frame"], run["latency_p95"])
        )
        table.add_row(name, cpu, f"{run['frames_a_unit']:.3f}", late)
    return table


def remote_table(result: dict[str, Any]) -> Table:
    """What `stream.evaluation.remote_benchmark.run_remote_benchmark` measured, beside what is promised."""
    codec, limits = result["codec"], result["limits"]
    lost = f"{result['skipped']} skipped, {result['lost']} lost"
    title = (
        f"viewer: {result['fps']:.1f} meshes a second, {lost}, longest gap {result['longest_gap_ms']:.0f} ms"
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("way")
    for heading in ("p50 ms", "p95 ms", "p99 ms", "limit"):
        table.add_column(heading, justify="right")
    table.add_row("the camera's interval, on top of all below", "33.33", "", "", "")
    latency = f"p95 {limits['latency_ms']:g}"
    table.add_row("capture to mesh received", *_times(result["latency_ms"]), latency)
    table.add_row("capture to mesh with its picture", *_times(result["shown_ms"]), "")
    table.add_row("header's capture time less the picture's clock", *_times(result["clock_error_ms"]), "")
    table.add_row("mesh encoding", *_times(codec["encode_ms"]), f"p50 {limits['encode_ms']:g}")
    table.add_row("mesh decoding", *_times(codec["decode_ms"]), f"p50 {limits['decode_ms']:g}")
    table.add_section()
    rate = f"{codec['mbit_s']:.2f} Mbit/s"
    table.add_row("meshes at 30 a second, with all headers", rate, "", "", f"{limits['mesh_mbit_s']:g}")
    table.add_row("meshes as received", f"{result['mesh_mbit_s']:.2f} Mbit/s", "", "", "")
    table.add_row("video and headers as received", f"{result['video_mbit_s']:.2f} Mbit/s", "", "", "")
    table.add_row(
        "depth, RMS of the worst frame", f"{codec['rms_mm']:.3f} mm", "", "", f"{limits['rms_mm']:g}"
    )
    return table


def _times(values: dict[str, float | None]) -> list[str]:
    times = (values[key] for key in ("p50", "p95", "p99"))
    return ["-" if time is None else f"{time:.2f}" for time in times]


def device_tables(device: dict[str, Any]) -> list[Table]:
    """What `stream.evaluation.benchmark.measure_device` found: steps of a frame, and kernels."""
    wall = device["frame"]["wall_ms"]
    steps = Table(
        title=f"{device['gpu']}: {wall['p50']:.2f} ms a frame (p95 {wall['p95']:.2f}); its steps singly:",
        title_justify="left",
        title_style="bold",
    )
    steps.add_column("step")
    for heading in ("p50 ms", "p95 ms", "share"):
        steps.add_column(heading, justify="right")
    for name, step in device["frame"]["steps_ms"].items():
        steps.add_row(name, f"{step['p50']:.3f}", f"{step['p95']:.3f}", f"{step['share']:.0%}")
    kernels = Table(
        title=f"Kernels; its memory copies {device['copy_gb_s']:.0f} GB/s (read and written)",
        title_justify="left",
        title_style="bold",
    )
    for heading in ("kernel", "work"):
        kernels.add_column(heading)
    for heading in ("p50 ms", "p95 ms", "of the bandwidth"):
        kernels.add_column(heading, justify="right")
    for kernel in device["kernels"]:
        share = "-" if kernel["share"] is None else f"{kernel['share']:.0%}"
        kernels.add_row(kernel["name"], kernel["work"], f"{kernel['p50']:.3f}", f"{kernel['p95']:.3f}", share)
    return [steps, kernels]


def write_json(values: object, path: Path) -> None:
    """Write plain values as indented JSON.

    :raises OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def try_outputs(*paths: Path | None) -> None:
    """Find out before the work whether the files that were asked for can be written after it.

    :raises OutputError: one cannot.
    """
    for path in paths:
        if path is not None:
            try_output(path)


def given(**options: Any) -> dict[str, Any]:
    """The options that were given on the command line, which are those that are not None."""
    return {key: value for key, value in options.items() if value is not None}
