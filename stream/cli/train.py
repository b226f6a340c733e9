"""`prosopon train`: train the depth network, and study what it learns from how much data."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Train networks (needs the train extra).", no_args_is_help=True)


Config = Annotated[Path | None, typer.Option(help="Settings (YAML) instead of the shipped ones.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps in all, instead of the settings'.")]
Data = Annotated[Path | None, typer.Option(help="Folder of shards, instead of the settings'.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run; default out/train/NAME.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda, instead of the settings'.")]


@app.command()
def depth(
    config: Config = None,
    resume: Resume = False,
    steps: Steps = None,
    data: Data = None,
    out: Out = None,
    device: Device = None,
) -> None:
    """Train a depth network on synthetic faces (configs/train/depth.yaml); Ctrl-C saves and stops."""
    _run("depth", config, out, resume, steps=steps, data=data, device=device)


@app.command()
def live(
    config: Config = None,
    resume: Resume = False,
    steps: Steps = None,
    data: Data = None,
    out: Out = None,
    device: Device = None,
) -> None:
    """Teach the int8 network of live capture (configs/train/live.yaml); Ctrl-C saves and stops."""
    _run("live", config, out, resume, steps=steps, data=data, device=device)


def _run(task: str, config: Path | None, out: Path | None, resume: bool, **changes: object) -> None:
    """One run of the training loop on a task whose samples are shards of faces."""
    _let_threads_spin()
    from stream.cli.tables import console, given
    from stream.config import load_config, parse_settings
    from stream.training.extra import require_train_extra

    require_train_extra()
    from stream.data.shards import load_dataset
    from stream.training.loop import CHECKPOINT, Trainer
    from stream.training.tasks import settings_of, task_of

    kind = settings_of(task)
    values = (load_config(config, kind) if config else kind()).model_dump() | given(**changes)
    settings = parse_settings(values, kind, "the command line")
    with console.status("Reading the samples"):
        train, val = (load_dataset(settings.data, split) for split in ("train", "val"))
    folder = out or Path("out/train") / settings.name
    trainer = Trainer(settings, task_of(task)(settings, train, val), folder, resume)
    console.print(f"{len(train)} samples of {train.size} px; writing to {folder}")
    with _stopping() as stop, _Progress(console, settings.steps, trainer.step) as progress:
        result = trainer.run(stop, progress.report)
    console.print(f"Step {trainer.step}: {_validation(result)}; saved {folder / CHECKPOINT}")


@app.command()
def study(
    config: Annotated[
        Path | None, typer.Option(help="Settings (YAML) instead of those of configs/train/study.yaml.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that are missing.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of shards, instead of the settings'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study; default out/train/NAME.")] = None,
) -> None:
    """Train several networks on more and more samples and compare them; Ctrl-C stops, --resume goes on."""
    _let_threads_spin()
    from stream.cli.tables import console, given
    from stream.config import load_config, parse_settings
    from stream.training.extra import require_train_extra

    require_train_extra()
    from stream.data.shards import SYNTHETIC, load_dataset
    from stream.inference.backends import load_engine
    from stream.models.manifest import load_manifest
    from stream.models.store import open_model
    from stream.training.study import Study, StudySettings
    from stream.training.study_report import write_report
    from stream.training.study_sets import StudySets

    settings = load_config(config, StudySettings) if config else StudySettings()
    settings = parse_settings(settings.model_dump() | given(data=data), StudySettings, "the command line")
    folder = out or Path("out/train") / settings.name
    engine = load_engine(open_model(settings.mask_model))
    side = load_manifest().find(settings.mask_model).crop_size or settings.size
    with console.status("Reading the samples"):
        train, val, test = (load_dataset(settings.data, split) for split in ("train", "val", "test"))
        sets = StudySets(val, test, engine, side, settings.size, settings.judged)
    engine.close()
    runner = Study(settings, train, sets, folder, resume)
    with _stopping() as stop:
        results = runner.run(
            stop, lambda name, done, count: console.print(f"{name} ({done} of {count} rows done)")
        )
    write_report(results, sum(int((shard.kind == SYNTHETIC).sum()) for shard in train.shards), folder)
    console.print(f"{len(results)} rows; wrote {folder / 'study.md'} and {folder / 'study.png'}")


def _let_threads_spin() -> None:
    """Let PyTorch's threads wait for each other awake; read when torch is loaded.

    A step has a thousand short parallel parts, and waking a thread takes a virtual machine long: on two cores
    30 pictures a second instead of 24.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000000")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a termination request sets, instead of cutting a step in half."""
    from stream.pipeline.run import stop_signals

    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Progress:
    """A bar on a terminal; on a plain file only the lines."""

    def __init__(self, console: Any, steps: int, done: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=done)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, row: dict[str, Any]) -> None:
        self._bar.update(self._task, completed=row["step"])
        if row["event"] == "validation":
            self._console.print(f"step {row['step']}, {row['seconds'] / 60:.1f} min: {_validation(row)}")
            return
        speed = f"{row['images_per_second']:.0f}/s, waiting {row['waiting']:.0%}"
        line = f"depth {row['depth']:.4f} shape {row['shape']:.4f} normal {row['normal']:.4f} {speed}"
        self._bar.update(self._task, description=line)
        if not self._console.is_terminal:
            self._console.print(f"step {row['step']} {line}")


def _validation(row: dict[str, Any]) -> str:
    """One line on the validation, by the kind of sample."""
    shown = {
        "l1": "L1 {:.4f}",
        "mm_tilt": "{:.2f} mm",
        "normals_skin": "normals {:.1f} degrees",
        "iou": "mask IoU {:.3f}",
    }
    parts = [
        label
        + " "
        + ", ".join(text.format(row[prefix + key]) for key, text in shown.items() if prefix + key in row)
        for label, prefix in (("ICT", ""), ("Anny", "anny_"), ("photos", "photo_"))
        if prefix + "l1" in row
    ]
    return "; ".join(parts)
