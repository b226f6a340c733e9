"""`prosopon bench`: how fast the live chain runs on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.tables import (
    console,
    device_tables,
    given,
    remote_table,
    stage_table,
    try_outputs,
    unit_table,
    write_json,
)
from stream.config import load_config, parse_settings
from stream.errors import ConfigError

if TYPE_CHECKING:
    from stream.evaluation.benchmark import BenchSettings


def bench(
    source: Annotated[str | None, typer.Option(help="sample, or the path of a video or folder.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames measured in each run (300).")] = None,
    warmup: Annotated[int | None, typer.Option(help="Frames before measuring starts (120).")] = None,
    render: Annotated[bool | None, typer.Option(help="Draw each mesh at 512x512 too.")] = None,
    decode: Annotated[str | None, typer.Option(help="Video files: cpu, or nvdec on a GPU.")] = None,
    inference: Annotated[
        str | None, typer.Option(help="tensorrt, openvino, onnxruntime, torch or auto.")
    ] = None,
    compute: Annotated[str | None, typer.Option(help="auto, numba or cuda.")] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Measure a remote session: camera, server, viewer.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings, e.g. configs/bench.yaml.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the plot here (beside --json by default).")] = None,
) -> None:
    """Measure rate, latency, drops, CPU and memory: unpaced, and offered at 30 and 60 frames a second.

    The figures come in units, too: one is what MediaPipe's face mesh with irises takes for a frame on one
    core here, measured before, between and after the runs. Compare machines and versions in units: CPU a
    frame, frames a unit when unpaced, and p95 from capture to the drawn picture (--no-render: to the mesh).
    """
    from stream.evaluation.benchmark import BenchSettings
    from stream.evaluation.plain_figure import is_plot

    values = (load_config(config, BenchSettings) if config else BenchSettings()).model_dump()
    values |= given(source=source, frames=frames, warmup=warmup, render=render, decode=decode)
    values["capture"] |= given(inference=inference, compute=compute)
    settings = parse_settings(values, BenchSettings, "the command line")
    picture = plot or (json.with_suffix(".png") if json else None)
    if picture is not None and (picture == json or picture.suffix != ".png"):
        raise ConfigError("The plot is a .png file and the figures are another; name them so.")
    if plot is None and picture is not None and not is_plot(picture):
        raise ConfigError(f"{picture} is there and no plot of ours; say with --plot where the plot goes.")
    try_outputs(json, picture)
    with console.status("Measuring") as status:
        result = _measure(settings, remote, lambda name: status.update(f"Measuring: {name}"))
    if json:
        write_json(result, json)
    if picture:
        _draw(result, remote, picture)
    _show(result, remote)
    for what, path in (("Figures", json), ("Plot", picture)):
        if path:
            console.print(f"{what}: {path}")


def _measure(settings: BenchSettings, remote: bool, progress: Callable[[str], None]) -> dict[str, Any]:
    if remote:
        from stream.evaluation.remote_benchmark import run_remote_benchmark

        return run_remote_benchmark(settings, progress)
    from stream.evaluation.benchmark import run_benchmark

    return run_benchmark(settings, progress)


def _show(result: dict[str, Any], remote: bool) -> None:
    from stream.evaluation.machine import machine_sentence

    console.print(f"Machine: {machine_sentence()}")
    if remote:
        console.print(stage_table({**result, "latency_ms": result["server_latency_ms"]}, "server"))
        console.print(remote_table(result))
        return
    for name, run in result["runs"].items():
        used = f"CPU {run['cpu_percent']:.0f} % of one core, {run['rss_mb']:.0f} MB"
        title = f"{name}: {run['fps']:.1f} fps, {used}"
        if run["faces"] < 1:
            title += f", a face in {run['faces']:.0%} of the frames"
        console.print(stage_table(run, title))
    console.print(unit_table(result, drawn=result["settings"]["render"]))
    for table in device_tables(result["device"]) if "device" in result else []:
        console.print(table)


def _draw(result: dict[str, Any], remote: bool, picture: Path) -> None:
    if remote:
        from stream.evaluation.remote_plot import draw_remote_benchmark

        draw_remote_benchmark(result, picture)
        return
    from stream.evaluation.bench_plot import draw_benchmark

    draw_benchmark(result, picture)
