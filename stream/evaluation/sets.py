"""The sets a method is judged on: parts of a split on disk, chosen without holding all of it in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.data.shards import (
    ANNY,
    ARRAYS,
    EXPRESSIONS,
    ICT,
    PHOTO,
    SPLITS,
    SYNTHETIC,
    Samples,
    load_shard,
)
from stream.errors import InputError
from stream.evaluation.judge import OPEN_JAW
from stream.expression.arkit import ARKIT_NAMES
from stream.files import ARCHIVE_ERRORS
from stream.types import Array

ICT_SET, ANNY_SET, PHOTO_SET = "ICT heads", "Anny heads", "photos"
OPEN_ICT_SET, OPEN_ANNY_SET = "open mouths, ICT", "open mouths, Anny"
"""Names of the sets, as in tables. Photos have weak labels: a head model fitted to their landmarks. Open
mouths are fewer: they are looked for in the whole split."""

_TOLD_BY = ("kind", "topology", "expression")


def load_sets(folder: Path, split: str, count: int) -> dict[str, Samples]:
    """Up to ``count`` samples of each kind and topology in a split, spread evenly over it.

    :returns: by name; sets without a sample are left out.
    :raises InputError: the folder has no such split, or a shard is damaged (`load_shard`).
    """
    paths = sorted(folder.glob(f"{split}-*.npz"))
    if split not in SPLITS or not paths:
        raise InputError(f"There is no {split} shard in {folder}; make the data with: prosopon data faces")
    told = [_told(path) for path in paths]
    starts = np.cumsum([0] + [len(one["kind"]) for one in told])
    kind, topology, expression = (np.concatenate([one[key] for one in told]) for key in _TOLD_BY)
    jaw = expression[:, ARKIT_NAMES.index("jawOpen")]
    made = kind == SYNTHETIC
    wanted = {
        ICT_SET: _spread(made & (topology == ICT), count),
        ANNY_SET: _spread(made & (topology == ANNY), count),
        PHOTO_SET: _spread(kind == PHOTO, count),
        OPEN_ICT_SET: _spread(made & (topology == ICT) & (jaw > OPEN_JAW), count),
        OPEN_ANNY_SET: _spread(made & (topology == ANNY) & (jaw > OPEN_JAW), count),
    }
    parts: dict[str, list[Samples]] = {name: [] for name in wanted}
    for path, start, end in zip(paths, starts[:-1], starts[1:], strict=True):
        if any(((rows >= start) & (rows < end)).any() for rows in wanted.values()):
            shard = load_shard(path)
            for name, rows in wanted.items():
                here = rows[(rows >= start) & (rows < end)] - start
                if len(here):
                    parts[name].append(take(shard, here))
    return {name: joined(some) for name, some in parts.items() if some}


def take(samples: Samples, rows: Array) -> Samples:
    """Copies of the samples at ``rows``."""
    mean = samples.mean_depth
    arrays = {name: getattr(samples, name)[rows] for name in ARRAYS}
    return Samples(**arrays, mean_depth=None if mean is None else mean[rows])


def joined(parts: list[Samples]) -> Samples:
    """All samples of several as one.

    :raises InputError: their sizes differ.
    """
    if any(part.size != parts[0].size for part in parts):
        raise InputError("The shards of a set must have samples of one size; make the data again.")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    means = [part.mean_depth for part in parts if part.mean_depth is not None]
    return Samples(**arrays, mean_depth=np.concatenate(means) if len(means) == len(parts) else None)


def _told(path: Path) -> dict[str, Array]:
    """What samples are chosen by, without reading the pictures."""
    try:
        with np.load(path, allow_pickle=False) as data:
            told = {key: data[key] for key in _TOLD_BY}
    except ARCHIVE_ERRORS as error:
        raise InputError(f"{path} is not a usable shard ({error}); make it again.") from error
    count = told["kind"].size
    for key, array in told.items():
        if array.shape != ((count, EXPRESSIONS) if key == "expression" else (count,)):
            raise InputError(f"{path}: {key} is {array.shape} for {count} samples; make the shard again.")
    return told


def _spread(chosen: Array, count: int) -> Array:
    rows = np.flatnonzero(chosen)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
