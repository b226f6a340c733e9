"""`prosopon data`: draw the synthetic face dataset and look at it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stream.cli.tables import console, try_outputs
from stream.config import load_config, parse_settings
from stream.errors import InputError
from stream.files import atomic_path

app = typer.Typer(help="Draw training data and look at it.", no_args_is_help=True)

STATISTICS_SAMPLES, SHARD_SHARE = 2000, 125
"""Samples measured by `stats`, and how many of them from one shard."""


@app.command()
def faces(
    config: Annotated[
        Path | None, typer.Option(help="Settings (YAML) instead of those of configs/train/faces.yaml.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write, instead of the settings'.")] = None,
    shared: Annotated[Path, typer.Option(help="Folder that holds data/.")] = Path("../shared"),
    workers: Annotated[int | None, typer.Option(help="Processes, instead of the settings'.")] = None,
) -> None:
    """Draw the dataset; what is already there is kept, so it can be stopped and started again."""
    # One thread a worker: BLAS and llvmpipe would otherwise fight over the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from stream.data.faces.dataset import FaceDataSettings, build_dataset

    settings = FaceDataSettings() if config is None else load_config(config, FaceDataSettings)
    changes = {key: value for key, value in (("out", out), ("workers", workers)) if value is not None}
    settings = parse_settings(settings.model_dump() | changes, FaceDataSettings, "the command line")
    data = shared / "data"
    if not data.is_dir():
        raise InputError(f"There is no folder {data}; say with --shared where the training data lies.")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        summary = build_dataset(settings, data, show)
    console.print(f"{settings.out}: {summary['counts']} samples, {summary['seconds']} s")


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("out/sheet.png"),
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")] = Path("cache/faces"),
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    count: Annotated[int, typer.Option(min=1, max=200, help="How many samples.")] = 24,
    seed: Annotated[int, typer.Option(help="Which samples.")] = 0,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Dot the landmarks over the pictures.")
    ] = False,
) -> None:
    """Draw a contact sheet: image, depth, normals and flags of some samples."""
    import cv2

    from stream.data.faces.sheet import contact_sheet

    try_outputs(out)
    picture = contact_sheet(data, split, count, seed, landmarks)
    encoded = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
    with atomic_path(out) as path:
        path.write_bytes(encoded)
    console.print(f"{out}: samples of {data}")


@app.command()
def stats(
    data: Annotated[Path, typer.Option(help="Folder of the dataset.")] = Path("cache/faces"),
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    clips: Annotated[list[Path] | None, typer.Option(help="A clip, picture or folder of pictures.")] = None,
    out: Annotated[Path, typer.Option(help="Picture to write (PNG or SVG).")] = Path("out/stats.png"),
    report: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Plot the faces of a dataset, their pose, distance, expression and skin tone, against those of clips."""
    from stream.data.pick import pick_samples
    from stream.data.shards import Dataset
    from stream.evaluation.statistics import clip_statistics, dataset_statistics, summary
    from stream.evaluation.statistics_plot import draw_statistics

    try_outputs(out, report)
    picked = Dataset(list(pick_samples(data, split, STATISTICS_SAMPLES, SHARD_SHARE, seed=0)))
    groups = {"dataset": dataset_statistics(picked, STATISTICS_SAMPLES)}
    if clips:
        groups["clips"] = clip_statistics(clips)
    draw_statistics(groups, out)
    figures = {name: summary(group) for name, group in groups.items()}
    if report is not None:
        with atomic_path(report) as path:
            path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    console.print(f"{out}: " + ", ".join(f"{len(group)} faces of {name}" for name, group in groups.items()))
