"""Batches come in a fixed order, from a thread that ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import bump_arrays  # noqa: E402

from stream.evaluation.shards import Dataset, Samples  # noqa: E402
from stream.training.augment import Augmenter  # noqa: E402
from stream.training.batches import BatchLoader, batch_indices  # noqa: E402
from stream.training.settings import AugmentSettings  # noqa: E402


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset([Samples(**bump_arrays(9, 32, seed)) for seed in range(2)])


def threads() -> int:
    return sum(thread.name == "batches" for thread in threading.enumerate())


def loader(dataset: Dataset, start: int, stop: int, augment: object = None) -> BatchLoader:
    return BatchLoader(dataset, augment or Augmenter(AugmentSettings()), 4, 7, start, stop)


def test_an_epoch_shows_no_sample_twice():
    for epoch in range(3):
        seen = np.concatenate([batch_indices(18, 4, epoch * 4 + step, 0) for step in range(4)])
        assert len(set(seen)) == 16
    assert (batch_indices(18, 4, 0, 0) != batch_indices(18, 4, 4, 0)).any()
    assert (batch_indices(18, 4, 0, 0) != batch_indices(18, 4, 0, 1)).any()


def test_a_dataset_smaller_than_a_batch_is_repeated():
    assert sorted(batch_indices(3, 6, 5, 0)) == [0, 0, 1, 1, 2, 2]


def test_starting_later_gives_the_same_batches(dataset):
    with loader(dataset, 0, 5) as whole:
        everything = list(whole)
    with loader(dataset, 3, 5) as rest:
        later = list(rest)
    assert len(everything) == 5
    assert len(later) == 2
    torch.testing.assert_close(later[0].image, everything[3].image)
    torch.testing.assert_close(later[1].depth, everything[4].depth)
    assert threads() == 0


def test_tensors_are_what_the_network_takes(dataset):
    with loader(dataset, 0, 1) as batches:
        (batch,) = batches
    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.image.dtype == batch.depth.dtype == torch.float32
    assert -1 <= batch.image.min() < batch.image.max() <= 1
    assert batch.depth.shape == batch.mask_known.shape == batch.foreground.shape == (4, 1, 32, 32)
    assert batch.depth_known.dtype == torch.bool
    assert len(batch) == 4


def test_leaving_early_ends_the_thread(dataset):
    with loader(dataset, 0, 10_000) as batches:
        next(iter(batches))
        assert threads() == 1
    assert threads() == 0


def test_an_error_on_the_thread_is_raised_where_batches_are_used(dataset):
    def broken(samples: Samples, rng: np.random.Generator) -> None:
        raise ValueError("spoilt sample")

    with loader(dataset, 0, 3, broken) as batches, pytest.raises(ValueError, match="spoilt sample"):
        next(iter(batches))
    assert threads() == 0
