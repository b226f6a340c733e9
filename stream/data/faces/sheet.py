"""A contact sheet of training samples, to be looked at before anything is trained on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stream.data.pick import pick_samples
from stream.data.shards import (
    DEPTH_KNOWN,
    FOREGROUND,
    HAIR,
    MASK_KNOWN,
    MOUTH,
    OCCLUDER,
    SKIN,
    Samples,
)
from stream.types import Array

DEPTH_SPAN = 0.8
"""Crop units from black (nearest) or white (farthest) to mid-grey."""

COLUMNS = 3
SHARD_SHARE = 4
"""Samples taken from one shard before another is read."""

LARGEST_TILE = 128
"""Larger samples are shown at half their size, so that a sheet fits a screen."""

FLAG_COLOURS = (
    (FOREGROUND, (150, 150, 150)),
    (SKIN, (250, 250, 250)),
    (HAIR, (60, 160, 80)),
    (MOUTH, (210, 60, 60)),
    (OCCLUDER, (70, 120, 240)),
)
"""What each bit is drawn in; a later one covers those before it."""

UNKNOWN_COLOUR = (25, 35, 90)
LANDMARK_COLOUR = (0, 255, 120)


def contact_sheet(folder: Path, split: str, count: int, seed: int = 0, landmarks: bool = False) -> Array:
    """(H, W, 3) uint8 picture of ``count`` random samples (all where there are fewer): image, depth, normals
    and flags side by side.

    Depth is darker where nearer and normals are drawn as colours. Flags are white for face skin, grey for the
    rest of the head, green for hair, red inside the mouth, blue for hands and objects before the head, black
    for the background and dark blue where nothing is known.

    :param landmarks: dot MediaPipe's points over the picture.
    :raises InputError: there is no such split, or the folder has no usable shards of it.
    """
    picked = pick_samples(folder, split, count, SHARD_SHARE, seed)
    rows = [_row(samples, i, landmarks) for samples in picked for i in range(len(samples))]
    rows += [np.zeros_like(rows[0])] * (-len(rows) % COLUMNS)
    return np.vstack([np.hstack(rows[i : i + COLUMNS]) for i in range(0, len(rows), COLUMNS)])


def flag_picture(flags: Array) -> Array:
    """(..., 3) uint8 colours of flags (...) uint8, as `contact_sheet` says."""
    picture = np.zeros((*flags.shape, 3), np.uint8)
    for bit, colour in FLAG_COLOURS:
        picture[flags & bit > 0] = colour
    picture[flags & MASK_KNOWN == 0] = UNKNOWN_COLOUR
    return picture


def _row(samples: Samples, i: int, landmarks: bool) -> Array:
    flags = samples.flags[i]
    known = (flags & DEPTH_KNOWN > 0)[..., None]
    grey = np.clip(128 + samples.depth[i].astype(np.float32) * 127 / DEPTH_SPAN, 0, 255)
    depth = np.where(known, grey[..., None], 0).repeat(3, axis=2)
    normal = np.where(known, 127 - samples.normal[i].astype(np.int16), 0)
    tiles = [_tile(panel) for panel in (samples.image[i], depth, normal, flag_picture(flags))]
    if landmarks:
        _dot(tiles[0], samples.landmarks[i])
    return np.hstack(tiles)


def _tile(panel: Array) -> Array:
    side = len(panel)
    panel = np.ascontiguousarray(panel, np.uint8)
    if side <= LARGEST_TILE:
        return panel.copy()
    return np.asarray(cv2.resize(panel, (side // 2, side // 2), interpolation=cv2.INTER_AREA))


def _dot(picture: Array, landmarks: Array) -> None:
    """Colour the pixels of a square picture that points (n, 2) in crop coordinates fall into."""
    cells = np.floor((landmarks + 1) * len(picture) / 2).astype(int)
    x, y = cells[((cells >= 0) & (cells < len(picture))).all(axis=1)].T
    picture[y, x] = LANDMARK_COLOUR
