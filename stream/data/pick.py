"""Random samples of a dataset that is too large to be held in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stream.data.shards import SPLITS, Dataset, Samples, load_shard
from stream.errors import InputError


def pick_samples(folder: Path, split: str, count: int, most: int, seed: int) -> Iterator[Samples]:
    """``count`` different random samples of a split in batches of one shard each, or all where it has fewer.

    :param most: samples from one shard, or more where there are too few shards; fewer shards read faster,
        more are nearer to the whole dataset.
    :raises InputError: there is no such split, or the folder has no usable shards of it.
    """
    paths = sorted(folder.glob(f"{split}-*.npz"))
    if split not in SPLITS or not paths:
        raise InputError(f"{folder} has no {split} samples; draw them first with: prosopon data faces")
    rng = np.random.default_rng(seed)
    left = count
    for done, index in enumerate(rng.permutation(len(paths))):
        samples = load_shard(paths[index])
        wanted = min(left, max(most, math.ceil(left / (len(paths) - done))))
        chosen = rng.permutation(len(samples))[:wanted]
        yield Dataset([samples]).take(chosen)
        left -= len(chosen)
        if left < 1:
            return
