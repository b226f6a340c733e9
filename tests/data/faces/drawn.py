"""Samples drawn with what they were drawn from, for tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.data.faces.engine import GOOD_FIT
from stream.data.faces.kit import HeadKit
from stream.data.faces.sample import Sample
from stream.data.faces.topologies import good_photos
from stream.data.shards import FOREGROUND, SKIN
from stream.geometry import mm_per_crop_unit
from stream.types import Array

PHOTOS = range(0, 24)


@dataclass(frozen=True)
class Drawn:
    """A synthetic sample, its head model, the model's coefficients and its head (N, 3) mm, head frame."""

    sample: Sample
    kit: HeadKit
    coefficients: Array
    head: Array

    @property
    def landmarks(self) -> Array:
        """(478, 3) mm, camera frame."""
        pose = self.sample.pose.astype(np.float64)
        return self.kit.landmarks(self.head) @ pose[:3, :3].T + pose[:3, 3]

    def depth_of(self, points: Array) -> Array:
        """Depth (n,) in crop units of points (n, 3) in the camera frame."""
        sample = self.sample
        unit = mm_per_crop_unit(sample.crop, sample.camera, sample.distance)
        return np.asarray((points[:, 2] - sample.distance) / unit)


def draw(engine: Any, seeds: Sequence[tuple[int, ...]]) -> list[Drawn]:
    """One sample per seed, each with a mean face."""
    good = {key: good_photos(kit.photos, PHOTOS, GOOD_FIT) for key, kit in engine.kits.items()}
    result = []
    for seed, sample in zip(seeds, engine.synthetic(seeds, PHOTOS, True), strict=True):
        choice = engine._draw(np.random.default_rng(seed), good)
        head = choice.kit.model.vertices(choice.coefficients[None])[0]
        choice.kit.look(head, choice.gaze)
        result.append(Drawn(sample, choice.kit, choice.coefficients, head))
    return result


def pixel_of(landmark: Array, size: int) -> tuple[int, int]:
    """Row and column of the pixel that a point (2,) in crop coordinates lies in."""
    column, row = np.floor((landmark + 1) * size / 2).astype(int)
    return int(row), int(column)


def inner_skin(sample: Sample) -> Array:
    """(S, S) bool, skin all of whose neighbours are skin too."""
    skin = sample.flags & SKIN > 0
    inner = skin.copy()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        inner &= np.roll(skin, shift, (0, 1))
    inner[[0, -1]] = inner[:, [0, -1]] = False
    return inner


def foreground(sample: Sample) -> Array:
    """(S, S) bool."""
    return np.asarray(sample.flags & FOREGROUND > 0)
