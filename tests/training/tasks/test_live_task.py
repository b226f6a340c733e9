"""The live task begins with its teacher, learns, and goes on where it was stopped."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from depth_shards import write_dataset  # noqa: E402

from stream.data.shards import Dataset, load_dataset  # noqa: E402
from stream.errors import ModelError  # noqa: E402
from stream.networks.network import DepthMaps  # noqa: E402
from stream.training.checkpoint import AVERAGE, NETWORK, load_checkpoint  # noqa: E402
from stream.training.loop import CHECKPOINT, LOG, Trainer  # noqa: E402
from stream.training.settings import LiveTraining  # noqa: E402
from stream.training.tasks import live, settings_of, task_of  # noqa: E402
from stream.training.tasks.live import LiveTask, teacher_losses  # noqa: E402

SIZE = 64


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(live, "CALIBRATION", 4)


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> tuple[Dataset, Dataset]:
    folder = write_dataset(tmp_path_factory.mktemp("shards"), size=SIZE, train=6, val=2)
    return load_dataset(folder, "train"), load_dataset(folder, "val")


def settings(**changes: object) -> LiveTraining:
    values = {
        "size": SIZE,
        "steps": 3,
        "batch": 2,
        "warmup": 1,
        "threads": 1,
        "log_every": 1,
        "encoder_from": 2,
    }
    return LiveTraining.model_validate(values | changes)


def trainer(
    run: LiveTraining, splits: tuple[Dataset, Dataset], folder: Path, resume: bool = False
) -> Trainer:
    return Trainer(run, LiveTask(run, *splits), folder, resume)


def test_it_is_found_by_its_name():
    assert task_of("live") is LiveTask
    assert settings_of("live") is LiveTraining
    with pytest.raises(ModelError, match="no training task 'oracle'"):
        task_of("oracle")


def test_labels_are_half_as_wide_as_pictures(splits):
    batch = LiveTask(settings(), *splits).batches(0).make(0)
    assert batch.image.shape == (2, 3, SIZE, SIZE)
    assert batch.depth.shape == batch.mask_known.shape == (2, 1, SIZE // 2, SIZE // 2)


def test_stopped_and_resumed_gives_the_same_weights_as_in_one_go(splits, tmp_path):
    trainer(settings(), splits, tmp_path / "whole").run()
    stop = threading.Event()
    trainer(settings(), splits, tmp_path / "parts").run(stop, lambda row: stop.set())
    rest = trainer(settings(), splits, tmp_path / "parts", resume=True)
    assert rest.step == 1
    rest.run()
    whole, parts = (load_checkpoint(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert whole.state["task"] == "live"
    for prefix in (NETWORK, AVERAGE):
        for name, value in whole.part(prefix).items():
            assert torch.equal(parts.part(prefix)[name], value), name
    rows = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    steps = [row for row in rows if row["event"] == "step"]
    # It begins with what the teacher knows: nothing of the first errors is of a random network.
    assert all(row["teacher_depth"] < 0.1 for row in steps)


def test_the_encoder_waits_for_its_turn(splits, tmp_path):
    run = trainer(settings(encoder_from=1), splits, tmp_path)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    batches: Any = run.task.batches(0)
    run._update(batches.make(0))
    moved = {name for name, value in run.network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not any(name.startswith("encoder.") for name in moved)
    run._update(batches.make(1))
    assert not torch.equal(run.network.encoder.stem.weight, before["encoder.stem.weight"])


def test_nothing_is_taught_where_something_is_held_before_the_face():
    depth = torch.zeros(1, 1, 8, 8)
    maps = DepthMaps(depth + 1, depth, depth, torch.zeros(1, 3, 8, 8))
    occluder = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    free = teacher_losses(maps, (depth, torch.ones_like(depth)), occluder)
    assert free["depth"] == 1
    assert free["slope"] == 0
    assert free["mask"] == pytest.approx(0.6931, abs=1e-4)
    assert all(part == 0 for part in teacher_losses(maps, (depth, depth), ~occluder).values())
