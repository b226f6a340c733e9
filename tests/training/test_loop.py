"""Training learns, can be stopped and gone on with, and says what is wrong."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import write_dataset  # noqa: E402

from stream.errors import ConfigError, ModelError, ProsoponError  # noqa: E402
from stream.evaluation.shards import Dataset, load_dataset  # noqa: E402
from stream.training.checkpoint import AVERAGE, NETWORK, load_checkpoint, trained_network  # noqa: E402
from stream.training.loop import CHECKPOINT, CURVE, LOG, Trainer, learning_rate, update_average  # noqa: E402
from stream.training.settings import AugmentSettings, DepthTraining  # noqa: E402

OFF = AugmentSettings(
    flip=0, occluder=0, colour=0, grey=0, blur=0, motion=0, noise=0, low_resolution=0, jpeg=0
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("shards"), size=32, train=6, val=4)


@pytest.fixture(scope="module")
def splits(data) -> tuple[Dataset, Dataset]:
    return load_dataset(data, "train"), load_dataset(data, "val")


def settings(data: Path, **changes: object) -> DepthTraining:
    values = {
        "data": data,
        "width": 4,
        "steps": 8,
        "batch": 4,
        "warmup": 2,
        "threads": 1,
        "autocast": False,
        "log_every": 1,
        "validate_every": 4,
        "save_every": 4,
    }
    return DepthTraining.model_validate(values | changes)


def test_a_handful_of_samples_is_learnt_by_heart(data, splits, tmp_path):
    run = settings(
        data,
        steps=150,
        batch=6,
        learning_rate=5e-3,
        warmup=10,
        ema=0.98,
        loss={"mask": 1.0},
        augment=OFF,
        validate_every=150,
        save_every=150,
    )
    trainer = Trainer(run, splits[0], splits[0], tmp_path)
    result = trainer.run()
    first = next(row for row in trainer.rows if row["event"] == "step")
    assert first["depth"] > 0.1
    assert result["l1"] < 0.02
    assert result["normals"] < 6
    assert result["iou"] > 0.8


def test_a_run_leaves_log_curve_pictures_and_checkpoint(data, splits, tmp_path):
    Trainer(settings(data), *splits, tmp_path).run()
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(1, 9))
    assert [row["step"] for row in rows if row["event"] == "validation"] == [4, 8]
    assert (tmp_path / CURVE).stat().st_size > 1000
    assert (tmp_path / "predictions-000008.png").exists()
    network, checkpoint = trained_network(tmp_path / CHECKPOINT)
    assert network.width == 4
    assert checkpoint.state["step"] == 8
    assert checkpoint.state["size"] == 32


def test_stopped_and_resumed_gives_the_same_weights_as_in_one_go(data, splits, tmp_path):
    Trainer(settings(data), *splits, tmp_path / "whole").run()
    stop = threading.Event()
    half = Trainer(settings(data), *splits, tmp_path / "parts")
    half.run(stop, lambda row: stop.set() if row["step"] == 3 else None)
    assert half.step == 3
    rest = Trainer(settings(data), *splits, tmp_path / "parts", resume=True)
    assert rest.step == 3
    rest.run()
    whole, parts = (load_checkpoint(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    for prefix in (NETWORK, AVERAGE):
        for name, value in whole.part(prefix).items():
            torch.testing.assert_close(parts.part(prefix)[name], value, atol=1e-5, rtol=1e-4)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 9))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(data, splits, tmp_path):
    trainer = Trainer(settings(data, save_every=2), *splits, tmp_path)
    poison = torch.full_like(trainer.network.head.bias, float("nan"))

    def spoil(row: dict[str, object]) -> None:
        if row["step"] == 3:
            trainer.network.head.bias.data.copy_(poison)

    with pytest.raises(ProsoponError, match="no longer a number at step 3"):
        trainer.run(report=spoil)
    network, checkpoint = trained_network(tmp_path / CHECKPOINT)
    assert checkpoint.state["step"] == 2
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_resuming_needs_a_checkpoint(data, splits, tmp_path):
    with pytest.raises(ModelError, match="resume"):
        Trainer(settings(data), *splits, tmp_path / "nothing", resume=True)


def test_a_new_run_does_not_overwrite_an_old_one(data, splits, tmp_path):
    Trainer(settings(data, steps=1), *splits, tmp_path).run()
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        Trainer(settings(data, steps=1), *splits, tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_resuming_another_width_is_refused(data, splits, tmp_path):
    Trainer(settings(data, steps=1), *splits, tmp_path).run()
    with pytest.raises(ModelError, match="does not fit"):
        Trainer(settings(data, width=6), *splits, tmp_path, resume=True)


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_damaged_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / CHECKPOINT
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(path)


def test_learning_rate_warms_up_and_falls(data):
    run = settings(data, steps=100, warmup=10, learning_rate=0.01)
    rates = [learning_rate(step, run) for step in range(100)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert np.argmax(rates) in (9, 10)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.01 * 0.02


def test_average_moves_by_one_minus_the_decay():
    old, new = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    new.weight.data.fill_(3.0)
    new.running_mean.fill_(2.0)
    new.num_batches_tracked.fill_(7)
    update_average(old, new, 0.75)
    torch.testing.assert_close(old.weight.data, torch.full((2,), 1.5))
    torch.testing.assert_close(old.running_mean, torch.full((2,), 0.5))
    assert old.num_batches_tracked == 7
