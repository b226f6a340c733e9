"""The dataset: planned, split, written, resumed and looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from depth_shards import bump_arrays

from stream.data.faces import dataset as dataset_module
from stream.data.faces.dataset import (
    SHARD,
    SPLITS,
    FaceDataSettings,
    Shard,
    build_dataset,
    make_shard,
    plan,
    sample_seed,
)
from stream.data.faces.photos import _save_cache
from stream.data.faces.sheet import contact_sheet, flag_picture
from stream.data.shards import (
    DEPTH_KNOWN,
    FOREGROUND,
    HAIR,
    ICT,
    MASK_KNOWN,
    MOUTH,
    OCCLUDER,
    SKIN,
    load_shard,
)
from stream.errors import InputError, OutputError


def test_the_plan_covers_every_sample_once() -> None:
    shards = plan(FaceDataSettings(train=1700, val=600, test=10))
    assert len({shard.name for shard in shards}) == len(shards)
    assert shards[0].split == "val"
    for split, synthetic in (("train", 1700), ("val", 600), ("test", 10)):
        for photos, count in ((False, synthetic), (True, len(SPLITS[split]))):
            mine = [s for s in shards if s.split == split and s.photos == photos]
            covered = [i for s in mine for i in range(s.start, s.start + s.count)]
            assert sorted(covered) == list(range(count))
            assert all(s.count <= SHARD for s in mine)


def test_splits_share_no_photo_and_no_seed() -> None:
    train, val, test = (set(SPLITS[name]) for name in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test
    assert min(test) == 4500, "photos 4500 and up are for testing only"
    seeds = {
        sample_seed(1, split, photos, i) for split in SPLITS for photos in (True, False) for i in range(50)
    }
    assert len(seeds) == 3 * 2 * 50


@pytest.fixture(scope="module")
def dataset(face_data: Any, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A tiny dataset, drawn; ``engine`` is asked for so that a machine without EGL or anny skips."""
    settings = FaceDataSettings(
        out=tmp_path_factory.mktemp("set"), cache=face_data[1], size=engine.size, train=3, val=2, test=1,
        photos=False, workers=1,
    )  # fmt: skip
    seen: list[tuple[int, int, str]] = []
    summary = build_dataset(settings, face_data[0], lambda *step: seen.append(step))
    return settings, face_data[0], summary, seen


def test_shards_hold_the_declared_arrays(dataset: tuple[Any, ...]) -> None:
    settings, _, summary, seen = dataset
    assert summary["counts"] == {"train": 3, "val": 2, "test": 1}
    assert seen[-1][:2] == (6, 6)
    assert json.loads((settings.out / "dataset.json").read_text())["settings"]["size"] == 64
    with np.load(settings.out / "val-00000.npz", allow_pickle=False) as shard:
        kinds = {name: (shard[name].dtype.name, shard[name].shape) for name in shard.files}
    assert kinds == {
        "image": ("uint8", (2, 64, 64, 3)),
        "depth": ("float16", (2, 64, 64)),
        "normal": ("int8", (2, 64, 64, 3)),
        "flags": ("uint8", (2, 64, 64)),
        "uv": ("uint8", (2, 64, 64, 2)),
        "mean_depth": ("float16", (2, 64, 64)),
        "kind": ("uint8", (2,)),
        "topology": ("uint8", (2,)),
        "tone": ("uint8", (2,)),
        "sight": ("float32", (2, 2)),
        "seed": ("int64", (2,)),
        "yaw": ("float32", (2,)),
        "pitch": ("float32", (2,)),
        "pose": ("float32", (2, 4, 4)),
        "camera": ("float32", (2, 4)),
        "crop": ("float32", (2, 4)),
        "distance": ("float32", (2,)),
        "occlusion": ("float32", (2,)),
        "landmarks": ("float32", (2, 478, 2)),
        "identity": ("float32", (2, 64)),
        "expression": ("float32", (2, 52)),
        "light": ("float32", (2, 42)),
    }
    with np.load(settings.out / "train-00000.npz", allow_pickle=False) as shard:
        assert "mean_depth" not in shard.files


def test_a_lost_shard_is_drawn_again_the_same(
    dataset: tuple[Any, ...], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, data, _, _ = dataset
    # By the engine that is there: a process takes long to make its own, and draws the same (see below).
    monkeypatch.setattr(dataset_module, "_worker", [(engine, settings)])
    monkeypatch.setattr(dataset_module, "worker_pool", lambda *_: _Here())
    lost, kept = settings.out / "train-00000.npz", settings.out / "val-00000.npz"
    with np.load(lost, allow_pickle=False) as shard:
        before = {name: shard[name] for name in shard.files}
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    assert build_dataset(settings, data)["drawn_now"] == 3
    assert kept.stat().st_mtime_ns == stamp
    with np.load(lost, allow_pickle=False) as shard:
        for name, array in before.items():
            np.testing.assert_array_equal(shard[name], array)


class _Here(Executor):
    """Does at once what it is given."""

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **options))
        return done


@contextmanager
def _full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond ``room`` bytes, as on a disk that fills up while it is written."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    engine: Any, face_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = FaceDataSettings(out=tmp_path / "set", train=1)
    monkeypatch.setattr(dataset_module, "_worker", [(engine, settings)])
    with _full_disk(20_000), pytest.raises(OutputError, match="make room"):
        dataset_module._write_shard(Shard("train", 0, False, 0, 1))
    assert list(settings.out.iterdir()) == []
    photos = engine.kits[ICT].photos
    with _full_disk(20_000), pytest.raises(OutputError, match="make room"):
        _save_cache(tmp_path / "kept" / "fits.npz", photos.fits, photos.points)
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_place_that_cannot_be_written_is_a_sentence(face_data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        build_dataset(FaceDataSettings(out=tmp_path / "file", cache=face_data[1]), face_data[0])


def test_two_datasets_are_not_mixed(dataset: tuple[Any, ...]) -> None:
    settings, data, _, _ = dataset
    with pytest.raises(InputError, match="other settings"):
        build_dataset(settings.model_copy(update={"seed": 9}), data)


def test_the_contact_sheet_shows_the_samples(dataset: tuple[Any, ...], tmp_path: Path) -> None:
    sheet = contact_sheet(dataset[0].out, "train", 5)
    assert sheet.shape == (64, 3 * 4 * 64, 3), "the three samples that there are"
    assert sheet[:, : 4 * 64].std() > 10
    dotted = contact_sheet(dataset[0].out, "train", 5, landmarks=True)
    changed = (dotted != sheet).any(axis=2)
    assert 50 < changed[:64, :64].sum() < 1000, "landmarks are dotted over the picture"
    assert not changed[:, 64 : 4 * 64].any(), "and over nothing else"
    with pytest.raises(InputError, match="no train samples"):
        contact_sheet(tmp_path, "train", 5)


def test_large_samples_are_shown_at_half_their_size(tmp_path: Path) -> None:
    np.savez(tmp_path / "train-00000.npz", **bump_arrays(3, 192, 0))
    assert contact_sheet(tmp_path, "train", 3).shape == (96, 3 * 4 * 96, 3)


def test_flags_are_drawn_in_their_colours() -> None:
    head = MASK_KNOWN | DEPTH_KNOWN | FOREGROUND
    flags = np.array(
        [0, MASK_KNOWN, head, head | SKIN, head | HAIR, head | MOUTH, MASK_KNOWN | OCCLUDER], np.uint8
    )
    unknown, background, rest, skin, hair, mouth, occluder = flag_picture(flags).astype(int)
    assert not background.any()
    assert np.ptp(rest) == np.ptp(skin) == 0
    assert skin[0] > rest[0] > 0
    assert hair.argmax() == 1
    assert mouth.argmax() == 0
    assert unknown.argmax() == occluder.argmax() == 2
    assert unknown[2] < occluder[2]


def test_processes_draw_the_same(dataset: tuple[Any, ...], engine: Any) -> None:
    """What a worker wrote is what this process draws."""
    settings = dataset[0]
    again = make_shard(engine, Shard("val", 0, False, 0, 2), settings.seed, settings.painted)
    with np.load(settings.out / "val-00000.npz", allow_pickle=False) as shard:
        assert set(shard.files) == set(again)
        for name, array in again.items():
            np.testing.assert_array_equal(shard[name], array, err_msg=name)


def test_shards_are_what_training_reads(dataset: tuple[Any, ...]) -> None:
    """They pass the loader's checks, and the line of sight is that of crop and camera."""
    samples = load_shard(dataset[0].out / "val-00000.npz")
    for camera, crop, sight in zip(samples.camera, samples.crop, samples.sight, strict=True):
        ray = (crop[:2] - camera[2:]) / camera[:2]
        turned = np.exp(-1j * crop[3]) * complex(*ray)
        np.testing.assert_allclose(sight, [turned.real, turned.imag], atol=1e-6)
