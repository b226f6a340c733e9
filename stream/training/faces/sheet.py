"""A contact sheet of training samples, to be looked at before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.errors import InputError
from stream.evaluation.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, SKIN
from stream.types import Array

DEPTH_SPAN = 0.8
"""Crop units from black (nearest) or white (farthest) to mid-grey."""

COLUMNS = 3


def contact_sheet(folder: Path, split: str, count: int, seed: int = 0) -> Array:
    """(H, W, 3) uint8 picture of ``count`` random samples: image, depth, normals and mask side by side.

    Depth is darker where nearer and normals are drawn as colours; the mask is grey for hair and neck, white
    for face skin, blue where unknown.

    :raises InputError: the folder has no shards of that split.
    """
    paths = sorted(folder.glob(f"{split}-*.npz"))
    if not paths:
        raise InputError(f"{folder} has no {split} samples; draw them first with: prosopon data faces")
    rng = np.random.default_rng(seed)
    rows: list[Array] = []
    while len(rows) < count:
        with np.load(paths[rng.integers(len(paths))], allow_pickle=False) as shard:
            samples = {name: shard[name] for name in ("image", "depth", "normal", "flags")}
        chosen = rng.choice(len(samples["image"]), min(4, count - len(rows)))
        rows += [_row({name: array[i] for name, array in samples.items()}) for i in chosen]
    rows += [np.zeros_like(rows[0])] * (-len(rows) % COLUMNS)
    return np.vstack([np.hstack(rows[i : i + COLUMNS]) for i in range(0, len(rows), COLUMNS)])


def _row(sample: dict[str, Array]) -> Array:
    flags = sample["flags"]
    known = (flags & DEPTH_KNOWN > 0)[..., None]
    grey = np.clip(128 + sample["depth"].astype(np.float32) * 127 / DEPTH_SPAN, 0, 255)
    depth = np.where(known, grey[..., None], 0).repeat(3, axis=2)
    normal = np.where(known, 127 - sample["normal"].astype(np.int16), 0)
    mask = (flags & FOREGROUND > 0) * 150 + (flags & SKIN > 0) * 100
    picture = np.repeat(mask[..., None], 3, axis=2)
    picture[flags & MASK_KNOWN == 0] = (40, 60, 140)
    return np.hstack([sample["image"], depth, normal, picture]).astype(np.uint8)
