"""Batches come in a fixed order, from a thread that ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import bump_arrays  # noqa: E402

from stream.data.shards import (  # noqa: E402
    ANNY,
    DEPTH_KNOWN,
    FOREGROUND,
    OCCLUDER,
    PHOTO,
    Dataset,
    Samples,
)
from stream.errors import ConfigError  # noqa: E402
from stream.training.batches import (  # noqa: E402
    SEEN_TWICE,
    Batch,
    BatchLoader,
    batch_indices,
    chosen_samples,
)
from stream.training.settings import DepthTraining  # noqa: E402

NO_AUGMENT = dict.fromkeys(
    ("flip", "occluder", "colour", "grey", "blur", "motion", "noise", "low_resolution", "jpeg"), 0
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset([Samples(**bump_arrays(9, 32, seed)) for seed in range(2)])


def threads() -> int:
    return sum(thread.name == "batches" for thread in threading.enumerate())


def loader(dataset: Dataset, start: int, stop: int, **changes: object) -> BatchLoader:
    values = {"batch": 4, "seed": 7, "steps": stop, "size": 32, "stages": []}
    return BatchLoader(dataset, DepthTraining.model_validate(values | changes), start)


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
    assert batch.normal.shape == (4, 3, 32, 32)
    length = batch.normal.norm(dim=1, keepdim=True)[batch.normal_known]
    assert len(length) > 100
    torch.testing.assert_close(length, torch.ones_like(length))
    assert len(batch) == 4


def test_leaving_early_ends_the_thread(dataset):
    with loader(dataset, 0, 10_000) as batches:
        next(iter(batches))
        assert threads() == 1
    assert threads() == 0


def test_an_error_on_the_thread_is_raised_where_batches_are_used(dataset):
    with loader(dataset, 0, 3, size=48) as batches, pytest.raises(ConfigError, match="are 32 px"):
        next(iter(batches))
    assert threads() == 0


def test_sizes_follow_the_stages(dataset):
    stages = [{"size": 16, "steps": 2}, {"size": 32, "steps": 1}]
    with loader(dataset, 0, 4, size=16, stages=stages) as batches:
        assert [batch.image.shape[-1] for batch in batches] == [16, 16, 32, 16]


def test_only_what_the_settings_ask_for_is_trained_on(dataset):
    every = chosen_samples(dataset, DepthTraining())
    assert list(every) == list(range(18))
    few, more = (set(chosen_samples(dataset, DepthTraining(samples=count))) for count in (3, 10))
    assert len(few) == 3
    assert few < more
    kind = np.concatenate([shard.kind for shard in dataset.shards])
    topology = np.concatenate([shard.topology for shard in dataset.shards])
    anny = chosen_samples(dataset, DepthTraining(topologies=("anny",)))
    assert set(anny) == set(np.flatnonzero(topology == ANNY))
    assert (kind[chosen_samples(dataset, DepthTraining(photos=False))] != PHOTO).all()
    with pytest.raises(ConfigError, match="No training sample"):
        chosen_samples(dataset, DepthTraining(topologies=()))


def test_what_is_held_before_the_head_has_neither_depth_nor_normal():
    samples = Samples(**bump_arrays(2, 32, seed=1))
    head = (samples.flags[0] & FOREGROUND) > 0
    rows, columns = np.nonzero(head)
    samples.flags[0, rows[:40], columns[:40]] &= ~np.uint8(FOREGROUND)
    samples.flags[0, rows[:40], columns[:40]] |= OCCLUDER
    batch = Batch(samples)
    assert ((samples.flags[0, rows[:40], columns[:40]] & DEPTH_KNOWN) > 0).all()
    for known in (batch.depth_known, batch.normal_known, batch.foreground):
        assert not known[0, 0][torch.from_numpy(rows[:40]), torch.from_numpy(columns[:40])].any()
    assert batch.depth_known[0].sum() == head.sum() - 40


def test_border_is_two_pixels_to_either_side_of_the_edge():
    samples = Samples(**bump_arrays(1, 32, seed=1))
    samples.flags[0] = 0
    samples.flags[0, :, 16:] = FOREGROUND
    border = Batch(samples).border[0, 0]
    assert (border[8].nonzero().flatten() == torch.arange(14, 18)).all()


def test_photos_are_seen_twice_mirrored_and_clean(dataset):
    plain = loader(dataset, 0, 9, augment=NO_AUGMENT, batch=18)
    spoilt = loader(dataset, 0, 9, batch=18)
    batch, other = plain.make(0), spoilt.make(0)
    assert len(batch.again) == SEEN_TWICE
    assert (batch.kind[batch.again] == PHOTO).all()
    torch.testing.assert_close(batch.mirrored.flip(-1), batch.image[batch.again])
    # Spoilt or not, and however mirrored, the second view is clean.
    assert (other.image[other.again] != other.mirrored.flip(-1)).any()
    for row, mirrored in enumerate(other.mirrored):
        clean = batch.image[batch.again[row]]
        assert any(torch.equal(mirrored, one) for one in (clean, clean.flip(-1)))
    assert len(loader(dataset, 0, 9, loss={"consistency": 0}).make(0).again) == 0
