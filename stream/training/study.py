"""How depth error depends on architecture, samples and head model: seed 000's Tables 4.2 and 4.3."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stream.config import Settings
from stream.data.shards import Dataset
from stream.errors import ConfigError, InputError, OutputError
from stream.training.loop import CHECKPOINT, Trainer
from stream.training.settings import (
    AugmentSettings,
    DepthTraining,
    LossSettings,
    Side,
    Topology,
)
from stream.training.study_sets import StudySets
from stream.training.tasks.depth import DepthTask

RESULTS = "results.jsonl"

PLAIN_L1 = LossSettings(
    depth=1,
    shape=0,
    slope=0,
    normal=0,
    normal_map=0,
    mask=0,
    spread=0,
    consistency=0,
    skin=1,
    mouth=1,
    border=1,
)
"""The seed trains with the L1 of depth alone (eq. 4.1)."""

UNCHANGED = AugmentSettings(
    flip=0, occluder=0, colour=0, grey=0, blur=0, motion=0, noise=0, low_resolution=0, jpeg=0
)
"""The seed trains on pictures as they are."""

Count = Annotated[int, Field(ge=1)]


class Contestant(Settings):
    """An architecture and how fast it learns."""

    architecture: str
    options: dict[str, int | str] = Field(default_factory=dict)
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3


class Row(Settings):
    """One number of samples (``None``: all) and how long to train on them."""

    samples: Count | None
    steps: Count


class StudySettings(Settings):
    """Everything ``prosopon train study`` depends on, apart from the data and the shipped model.

    Training is on synthetic heads only; photos, with their weak labels, are what it is tested on.
    """

    data: Path = Path("cache/faces")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "study"
    """The study's folder under ``out/train/``."""
    size: Side = 96
    batch: Annotated[int, Field(ge=1, le=1024)] = 8
    contestants: Annotated[tuple[Contestant, ...], Field(min_length=1)] = (
        Contestant(architecture="attention_unet", options={"width": 16, "stem": 1}, learning_rate=2e-3),
        Contestant(architecture="dpt", options={"variant": "small"}, learning_rate=1e-3),
    )
    rows: Annotated[tuple[Row, ...], Field(min_length=1)] = (
        Row(samples=1, steps=150),
        Row(samples=10, steps=250),
        Row(samples=100, steps=300),
        Row(samples=1000, steps=600),
        Row(samples=10000, steps=800),
        Row(samples=None, steps=800),
    )
    transfer: Row | None = Row(samples=1000, steps=600)
    """The first contestant is trained so on each head model alone, and tested on both."""
    judged: Count = 200
    """At most so many samples of each set are judged."""
    mask_model: str = "depth"
    """Name of the shipped model whose mask removes the background."""
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 2


Progress = Callable[[str, int, int], None]
"""Told the row that is trained, and how many of how many rows are done."""


class Study:
    """All rows of a study, one after the other, in a folder; those that are finished are kept.

    :param folder: where ``results.jsonl`` and a folder for each row go.
    :param resume: go on with the rows that are missing.
    :raises ConfigError: not resuming where there are results already.
    :raises InputError: the results that are there are damaged.
    """

    def __init__(
        self, settings: StudySettings, train: Dataset, sets: StudySets, folder: Path, resume: bool = False
    ) -> None:
        self.settings, self.folder = settings, folder
        self._train, self._sets = train, sets
        self._path = folder / RESULTS
        if self._path.exists() and not resume:
            raise ConfigError(f"{folder} already holds a study; go on with --resume, or name another folder.")
        self.results = load_results(self._path) if resume and self._path.exists() else []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from error

    def run(self, stop: threading.Event, report: Progress | None = None) -> list[dict[str, Any]]:
        """Train and judge every row that is missing, until ``stop`` is set.

        :returns: the rows that are finished: the settings of each under ``row``, ``seconds`` of training, and
            what `StudySets.judge` gives.
        """
        plan = plan_rows(self.settings)
        for run in plan:
            key = row_key(run)
            if any(result["row"] == key for result in self.results):
                continue
            if report is not None:
                report(run.name, len(self.results), len(plan))
            result = self._row(run, stop)
            if stop.is_set():
                break
            self.results.append(result)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            (self.folder / run.name / CHECKPOINT).unlink()
        return self.results

    def _row(self, run: DepthTraining, stop: threading.Event) -> dict[str, Any]:
        folder = self.folder / run.name
        task = DepthTask(run, self._train, self._sets.val)
        trainer = Trainer(run, task, folder, resume=(folder / CHECKPOINT).exists())
        if trainer.step < run.steps:
            trainer.run(stop)
        if stop.is_set():
            return {}
        seconds = next(row["seconds"] for row in reversed(trainer.rows))
        judged = self._sets.judge(trainer.average, self._train, run)
        return {"row": row_key(run), "seconds": seconds} | judged


def plan_rows(settings: StudySettings) -> list[DepthTraining]:
    """The training of every row: all contestants by all numbers of samples, then each head model alone."""
    plan = [_training(settings, one, row) for one in settings.contestants for row in settings.rows]
    if settings.transfer is not None:
        alone: tuple[Topology, ...] = ("ict", "anny")
        plan += [_training(settings, settings.contestants[0], settings.transfer, name) for name in alone]
    names = [run.name for run in plan]
    if len(set(names)) < len(names):
        raise ConfigError(
            "Two rows of the study have the same architecture and number of samples; leave one out."
        )
    return plan


def row_key(run: DepthTraining) -> dict[str, Any]:
    """What tells one row's training from another's, as JSON."""
    names = {
        "architecture",
        "options",
        "samples",
        "topologies",
        "size",
        "steps",
        "batch",
        "learning_rate",
        "seed",
    }
    return run.model_dump(mode="json", include=names)


def load_results(path: Path) -> list[dict[str, Any]]:
    """The finished rows of a study.

    :raises InputError: the file is damaged.
    """
    try:
        results = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a study's results ({error}); remove it and begin anew.") from error
    if not all(isinstance(result, dict) and isinstance(result.get("row"), dict) for result in results):
        raise InputError(f"{path} is not a study's results; remove it and begin anew.")
    return results


def _training(
    settings: StudySettings, one: Contestant, row: Row, topology: Topology | None = None
) -> DepthTraining:
    """One row's training; short ones average over fewer steps."""
    count = "all" if row.samples is None else str(row.samples)
    return DepthTraining(
        data=settings.data,
        name="-".join([one.architecture, *([topology] if topology else []), count]),
        architecture=one.architecture,
        options=one.options,
        pretrained=False,
        stages=(),
        samples=row.samples,
        topologies=("ict", "anny") if topology is None else (topology,),
        photos=False,
        size=settings.size,
        steps=row.steps,
        batch=min(settings.batch, row.samples or settings.batch),
        learning_rate=one.learning_rate,
        warmup=min(50, row.steps // 4),
        ema=0.98,
        validate_every=row.steps,
        validate_samples=32,
        save_every=max(100, row.steps // 3),
        log_every=20,
        seed=settings.seed,
        threads=settings.threads,
        loss=PLAIN_L1,
        augment=UNCHANGED,
    )
