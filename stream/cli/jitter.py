"""`prosopon eval jitter`: how calm the live depth is on a still face, and how prompt on a moving one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream.evaluation.jitter import Measurement
    from stream.types import Frame

JITTER = {"depth_median_mm": "jitter median mm", "depth_p95_mm": "95 % mm", "distance_mm": "distance mm"}
LAGS = ("lag_place", "lag_turn", "lag_size", "lag_depth")


def jitter(
    sources: Annotated[
        list[str], typer.Argument(help="Photos (made into clips), recordings, or sample; see live --help.")
    ],
    frames: Annotated[int, typer.Option(help="Frames of each clip made of a photo.", min=60)] = 120,
    limit: Annotated[int, typer.Option(help="Frames read of a recording at most.", min=30, max=3000)] = 300,
    inference: Annotated[str, typer.Option(help="tensorrt, openvino, onnxruntime, torch or auto.")] = "auto",
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Draw depth over time here (PNG).")] = None,
) -> None:
    """Step the live chain with and without its smoothing and compare: jitter in mm, lag in frames."""
    from stream.cli.tables import console, try_outputs, write_json
    from stream.evaluation.jitter import measure_photo, measure_recording
    from stream.recipes import CaptureSettings
    from stream.sources.images import is_image, read_image

    try_outputs(json, out)
    settings = CaptureSettings(inference=inference)
    found: dict[str, Measurement] = {}
    with console.status("Measuring"):
        for source in sources:
            if is_image(Path(source)):
                found[Path(source).name] = measure_photo(read_image(Path(source)), settings, frames)
            else:
                found[Path(source).name] = measure_recording(_read(source, limit), settings)
    if json is not None:
        write_json({name: _plain(measurement.figures) for name, measurement in found.items()}, json)
    if out is not None:
        from stream.evaluation.jitter_plot import draw_traces

        draw_traces(found, out)
    for table in _tables(found):
        console.print(table)


def _read(spec: str, limit: int) -> list[Frame]:
    from stream.sources.factory import open_source

    source = open_source(spec, fast=True)
    frames: list[Frame] = []
    try:
        source.open()
        while len(frames) < limit and (frame := source.read()) is not None:
            frames.append(frame)
    finally:
        source.close()
    return frames


def _plain(figures: Any) -> Any:
    """The same with ``None`` for NaN, which JSON does not have."""
    if isinstance(figures, dict):
        return {key: _plain(value) for key, value in figures.items()}
    return None if math.isnan(figures) else figures


def _tables(found: dict[str, Measurement]) -> list[Any]:
    from rich.table import Table

    still = Table(title="A still face: standard deviation over time, raw > smoothed", title_justify="left")
    moving = Table(title="A moving face: frames of lag, raw > smoothed", title_justify="left")
    recorded = Table(title="Recordings: frames of lag behind the raw depth", title_justify="left")
    for table, headings in (
        (still, ("clip", *JITTER.values())),
        (moving, ("place", "turn", "size", "depth")),
        (recorded, ("frames", "all depths", "mouth", "motion mm", "smooth - raw mm")),
    ):
        table.add_column("source")
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "clip" else "right")
    for name, measurement in found.items():
        for clip, part in measurement.figures.items():
            if clip == "recording":
                recorded.add_row(name, *(_number(value) for value in part.values()))
            elif clip == "moving":
                moving.add_row(name, *(_pair(part, key) for key in LAGS))
            else:
                still.add_row(name, clip, *(_pair(part, key) for key in JITTER))
    return [table for table in (still, moving, recorded) if table.row_count]


def _pair(part: dict[str, dict[str, float]], key: str) -> str:
    return f"{_number(part['raw'][key])} > {_number(part['smooth'][key])}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.2f}"
