"""The dataset on disk is checked before anything learns from it."""

from __future__ import annotations

import numpy as np
import pytest
from depth_shards import bump_arrays, write_dataset

from stream.data import shards
from stream.data.shards import load_dataset, load_shard
from stream.errors import InputError


def test_taking_crosses_shards_and_keeps_the_order(tmp_path):
    dataset = load_dataset(write_dataset(tmp_path, train=10), "train")
    assert len(dataset) == 10
    first, second = (np.load(tmp_path / f"train-{i:05d}.npz") for i in range(2))
    batch = dataset.take(np.array([7, 0, 4]))
    for name in ("image", "depth", "normal", "flags", "kind", "yaw"):
        expected = [second[name][2], first[name][0], first[name][4]]
        np.testing.assert_array_equal(getattr(batch, name), expected)
    assert batch.mean_depth is None
    assert load_dataset(tmp_path, "val").take(np.array([1])).mean_depth is not None


def test_a_batch_is_a_copy(tmp_path):
    dataset = load_dataset(write_dataset(tmp_path), "train")
    dataset.take(np.array([0])).image[:] = 0
    assert dataset.shards[0].image[0].any()


@pytest.mark.parametrize("indices", [[], [-1], [16], [0, 99]])
def test_indices_outside_are_refused(tmp_path, indices):
    dataset = load_dataset(write_dataset(tmp_path), "train")
    with pytest.raises(InputError, match=r"0\.\.15"):
        dataset.take(np.array(indices, int))


@pytest.mark.parametrize("split", ["train", "other", "../train"])
def test_a_folder_without_the_split_says_how_to_make_it(tmp_path, split):
    with pytest.raises(InputError, match="prosopon data faces"):
        load_dataset(tmp_path, split)


BROKEN = {
    "another dtype": ("depth", lambda a: a.astype(np.float32)),
    "another shape": ("normal", lambda a: a[:, :-1]),
    "another count": ("kind", lambda a: a[:-1]),
    "NaN in depth": ("depth", lambda a: np.full_like(a, np.nan)),
    "infinite yaw": ("yaw", lambda a: np.full_like(a, np.inf)),
    "unknown kind": ("kind", lambda a: np.full_like(a, 9)),
    "unknown flag": ("flags", lambda a: a | 128),
    "flat images": ("image", lambda a: a[0, 0]),
    "no samples": ("image", lambda a: a[:0]),
}


@pytest.mark.parametrize(("name", "spoil"), BROKEN.values(), ids=BROKEN.keys())
def test_wrong_content_is_refused(tmp_path, name, spoil):
    arrays = bump_arrays(2, 32, 0)
    arrays[name] = spoil(arrays[name])
    path = tmp_path / "train-00000.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"train-00000\.npz"):
        load_shard(path)


def test_sizes_that_are_no_multiple_of_16_are_refused(tmp_path):
    np.savez(tmp_path / "train-00000.npz", **bump_arrays(2, 40, 0))
    with pytest.raises(InputError, match="multiples of 16"):
        load_shard(tmp_path / "train-00000.npz")


def test_damaged_missing_and_pickled_files_are_refused(tmp_path):
    path = tmp_path / "train-00000.npz"
    with pytest.raises(InputError, match="not a usable shard"):
        load_shard(path)
    path.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(InputError, match="not a usable shard"):
        load_shard(path)
    arrays = bump_arrays(2, 32, 0)
    arrays["image"] = np.array([{"no": "array"}], dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="not a usable shard"):
        load_shard(path)
    del arrays["image"]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="not a usable shard"):
        load_shard(path)


def test_a_file_that_would_unpack_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "train-00000.npz"
    np.savez_compressed(path, **bump_arrays(2, 32, 0))
    monkeypatch.setattr(shards, "MAX_SHARD_BYTES", 10_000)
    with pytest.raises(InputError, match="larger than a shard"):
        load_shard(path)


def test_shards_of_different_sizes_are_refused(tmp_path):
    write_dataset(tmp_path)
    np.savez(tmp_path / "train-00009.npz", **bump_arrays(2, 48, 0))
    with pytest.raises(InputError, match="one size"):
        load_dataset(tmp_path, "train")
