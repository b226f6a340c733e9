"""Random samples of a large dataset: as many as asked for, none twice, from few shards or many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from depth_shards import bump_arrays

from stream.data.pick import pick_samples
from stream.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shards")
    for index in range(4):
        np.savez(made / f"train-{index:05d}.npz", **bump_arrays(5, 16, index))
    return made


def yaws(folder: Path, count: int, most: int, seed: int = 0) -> list[list[float]]:
    """The yaw of each sample picked, by batch: no two samples of the folder share one."""
    return [samples.yaw.tolist() for samples in pick_samples(folder, "train", count, most, seed)]


@pytest.mark.parametrize(("count", "most", "sizes"), [
    (6, 2, [2, 2, 2]), (3, 5, [3]), (12, 1, [3, 3, 3, 3]), (99, 1, [5, 5, 5, 5]), (7, 4, [4, 3]),
])  # fmt: skip
def test_as_many_as_asked_for_and_none_twice(folder: Path, count: int, most: int, sizes: list[int]) -> None:
    picked = yaws(folder, count, most)
    assert [len(batch) for batch in picked] == sizes
    values = [value for batch in picked for value in batch]
    assert len(set(values)) == len(values)


def test_the_seed_decides(folder: Path) -> None:
    assert yaws(folder, 6, 2) == yaws(folder, 6, 2)
    assert yaws(folder, 6, 2) != yaws(folder, 6, 2, seed=1)


def test_no_or_damaged_shards_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no train samples"):
        list(pick_samples(tmp_path, "train", 3, 3, 0))
    with pytest.raises(InputError, match="no other samples"):
        list(pick_samples(folder, "other", 3, 3, 0))
    (tmp_path / "val-00000.npz").write_bytes(b"not a shard")
    with pytest.raises(InputError, match="not a usable shard"):
        list(pick_samples(tmp_path, "val", 3, 3, 0))
