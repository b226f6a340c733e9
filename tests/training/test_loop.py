"""Training learns, can be stopped and gone on with, and says what is wrong."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import bump_arrays, write_dataset  # noqa: E402

from stream.data.shards import Dataset, Samples, load_dataset  # noqa: E402
from stream.errors import ConfigError, InputError, ModelError, ProsoponError  # noqa: E402
from stream.training.batches import BatchLoader  # noqa: E402
from stream.training.checkpoint import AVERAGE, NETWORK, load_checkpoint  # noqa: E402
from stream.training.loop import CHECKPOINT, LOG, Trainer, learning_rate, update_average  # noqa: E402
from stream.training.settings import AugmentSettings, DepthTraining  # noqa: E402
from stream.training.tasks.depth import CURVE, DepthTask, trained_network  # noqa: E402

OFF = AugmentSettings(
    flip=0, occluder=0, colour=0, grey=0, blur=0, motion=0, noise=0, low_resolution=0, jpeg=0
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("shards"), size=32, train=8, val=4)


@pytest.fixture(scope="module")
def splits(data) -> tuple[Dataset, Dataset]:
    return load_dataset(data, "train"), load_dataset(data, "val")


def settings(data: Path, **changes: object) -> DepthTraining:
    values = {
        "data": data,
        "architecture": "attention_unet",
        "pretrained": False,
        "stages": [],
        "options": {"width": 4},
        "size": 32,
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


def trainer_of(
    run: DepthTraining, train: Dataset, val: Dataset, folder: Path, resume: bool = False
) -> Trainer:
    return Trainer(run, DepthTask(run, train, val), folder, resume)


@pytest.mark.parametrize(("count", "batch", "steps"), [(1, 1, 100), (10, 5, 200)])
def test_one_sample_and_ten_are_learnt_by_heart(tmp_path, count, batch, steps):
    data = Dataset([Samples(**bump_arrays(count, 32, seed=9))])
    run = settings(
        tmp_path,
        options={"width": 8},
        steps=steps,
        batch=batch,
        learning_rate=8e-3,
        warmup=10,
        ema=0.98,
        loss={"mask": 1.0, "normal_map": 1.0},
        augment=OFF,
        log_every=1,
        validate_every=steps,
        save_every=steps,
    )
    trainer = trainer_of(run, data, data, tmp_path / "run")
    result = trainer.run()
    steps_logged = [row for row in trainer.rows if row["event"] == "step"]
    assert steps_logged[0]["depth"] > 0.1
    # Statistics of a few pixels of a few samples (2x2 at the deepest) are noisy: of one sample those kept
    # for inference differ from its own, and of ten those of a batch from those kept.
    assert (steps_logged[-1]["depth"] if count == 1 else result["l1"]) < 0.03
    assert result["l1"] < 0.06
    assert result["iou"] > 0.9
    assert result["normals_skin"] < 6
    if count > 1:
        assert result["anny_l1"] < 0.03
        assert result["photo_l1"] < 0.06
        assert result["normals_map"] < 15


def test_a_run_leaves_log_curve_pictures_and_checkpoint(data, splits, tmp_path):
    trainer_of(settings(data), splits[0], splits[1], tmp_path).run()
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(1, 9))
    assert [row["step"] for row in rows if row["event"] == "validation"] == [4, 8]
    assert (tmp_path / CURVE).stat().st_size > 1000
    assert (tmp_path / "predictions-000008.png").exists()
    network, checkpoint = trained_network(tmp_path / CHECKPOINT)
    assert network.options()["width"] == 4
    assert checkpoint.state["step"] == 8
    assert checkpoint.state["size"] == 32


def test_stopped_and_resumed_gives_the_same_weights_as_in_one_go(data, splits, tmp_path):
    trainer_of(settings(data), splits[0], splits[1], tmp_path / "whole").run()
    stop = threading.Event()
    half = trainer_of(settings(data), splits[0], splits[1], tmp_path / "parts")
    half.run(stop, lambda row: stop.set() if row["step"] == 3 else None)
    assert half.step == 3
    rest = trainer_of(settings(data), splits[0], splits[1], tmp_path / "parts", resume=True)
    assert rest.step == 3
    rest.run()
    whole, parts = (load_checkpoint(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    for prefix in (NETWORK, AVERAGE):
        for name, value in whole.part(prefix).items():
            assert torch.equal(parts.part(prefix)[name], value), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert sorted(set(steps)) == list(range(1, 9))


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(data, splits, tmp_path):
    trainer = trainer_of(settings(data, save_every=2), splits[0], splits[1], tmp_path)
    poison = torch.full_like(trainer.network.head.maps.bias, float("nan"))

    def spoil(row: dict[str, object]) -> None:
        if row["step"] == 3:
            trainer.network.head.maps.bias.data.copy_(poison)

    with pytest.raises(ProsoponError, match="no longer a number at step 3"):
        trainer.run(report=spoil)
    network, checkpoint = trained_network(tmp_path / CHECKPOINT)
    assert checkpoint.state["step"] == 2
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_resuming_needs_a_checkpoint(data, splits, tmp_path):
    with pytest.raises(ModelError, match="resume"):
        trainer_of(settings(data), splits[0], splits[1], tmp_path / "nothing", resume=True)


def test_a_new_run_does_not_overwrite_an_old_one(data, splits, tmp_path):
    trainer_of(settings(data, steps=1), splits[0], splits[1], tmp_path).run()
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        trainer_of(settings(data, steps=1), splits[0], splits[1], tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_resuming_another_width_is_refused(data, splits, tmp_path):
    trainer_of(settings(data, steps=1), splits[0], splits[1], tmp_path).run()
    with pytest.raises(ModelError, match="does not fit"):
        trainer_of(settings(data, options={"width": 6}), splits[0], splits[1], tmp_path, resume=True)


def test_a_run_starts_from_the_averaged_weights_of_another(data, splits, tmp_path):
    first = trainer_of(settings(data), splits[0], splits[1], tmp_path / "first")
    first.run()
    path = tmp_path / "first" / CHECKPOINT
    second = trainer_of(settings(data, start=path), splits[0], splits[1], tmp_path / "second")
    for name, value in first.average.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], value)
        assert torch.equal(second.average.state_dict()[name], value)
    assert second.step == 0
    with pytest.raises(ModelError, match="start from another checkpoint"):
        trainer_of(settings(data, start=path, options={"width": 6}), splits[0], splits[1], tmp_path / "third")


def test_a_run_grows_its_pictures_and_says_how_fast_it_was(data, splits, tmp_path):
    run = settings(data, stages=[{"size": 16, "steps": 3}], steps=5)
    trainer = trainer_of(run, splits[0], splits[1], tmp_path)
    trainer.run()
    steps = [row for row in trainer.rows if row["event"] == "step"]
    assert [row["size"] for row in steps] == [16, 16, 16, 32, 32]
    assert all(row["images_per_second"] > 0 for row in steps[1:])
    assert all(0 <= row["waiting"] <= 1 for row in steps)


def test_photos_are_compared_with_what_the_average_makes_of_them(data, splits, tmp_path):
    run = settings(data, batch=8)
    trainer: Any = trainer_of(run, splits[0], splits[1], tmp_path)
    # At first the mask is undecided; where it says background there is nothing to agree on.
    trainer.average.head.maps.bias.data[1] = 10.0
    batch = BatchLoader(splits[0], trainer.settings).make(0)
    assert len(batch.again) > 0
    assert trainer.task.twin(trainer.at(), batch) is None
    trainer.step = trainer.settings.warmup
    twin = trainer.task.twin(trainer.at(), batch)
    occluded = (batch.mask_known & ~batch.foreground)[batch.again]
    assert torch.equal(torch.isnan(twin), occluded)
    with torch.no_grad():
        expected = trainer.average(batch.mirrored).depth.flip(-1)
    torch.testing.assert_close(twin[~occluded], expected[~occluded])


def test_the_architecture_is_chosen_by_name_and_checked(data, splits, tmp_path):
    with pytest.raises(ModelError, match="no depth network"):
        trainer_of(settings(data, architecture="oracle"), splits[0], splits[1], tmp_path / "a")
    with pytest.raises(InputError, match="width"):
        trainer_of(settings(data, options={"width": 0}), splits[0], splits[1], tmp_path / "b")


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


def test_a_size_the_network_does_not_take_is_refused_at_once(tmp_path):
    dataset = load_dataset(write_dataset(tmp_path / "data", size=48), "train")
    settings = DepthTraining(architecture="mobile_unet", pretrained=False, stages=(), size=48)
    with pytest.raises(ConfigError, match="multiples of 32, not 48"):
        trainer_of(settings, dataset, dataset, tmp_path / "run")
