"""What the rows of a study are judged on: their own samples, held-out heads, and photos with weak labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

from stream.data.shards import ANNY, DEPTH_KNOWN, ICT, PHOTO, SYNTHETIC, Dataset, Samples
from stream.depth.preprocess import to_network
from stream.errors import InputError
from stream.evaluation import metrics, regions
from stream.inference.engine import Engine
from stream.networks.network import DepthNetwork
from stream.training.batches import chosen_samples
from stream.training.settings import DepthTraining
from stream.training.targets import shrunk
from stream.training.validate import predict
from stream.types import Array

CHUNK = 32

BACKGROUND = 127
"""Grey level that the background is replaced by: the middle of what the network takes."""


class StudySets:
    """The sets of a study, at the size trained at.

    :param engine: the shipped depth network, whose mask removes the photos' background.
    :param mask_size: side of the pictures it takes.
    :param most: at most so many samples of each set are judged.
    :ivar val: synthetic heads of both head models.
    :ivar photos: photos of the test split, with weak labels.
    :raises InputError: there is no synthetic sample in ``val``, or no photo in ``test``.
    """

    def __init__(
        self, val: Dataset, test: Dataset, engine: Engine, mask_size: int, size: int, most: int
    ) -> None:
        self._most, self._size = most, size
        self.val = Dataset([shrunk(_part(val, SYNTHETIC, most, "synthetic sample"), size)])
        photos = _part(test, PHOTO, most, "photo")
        inside = predicted_masks(engine, photos.image, mask_size, size) > 0.5
        self.photos = shrunk(photos, size)
        self._masked, self._cut = without_background(self.photos, inside)

    def judge(self, network: DepthNetwork, train: Dataset, run: DepthTraining) -> dict[str, Any]:
        """Mean depth L1 of a trained network, each in crop units and as the seed states it (``_normalised``).

        Keys: ``train`` (of what it was trained on), ``val``, ``val_ict``, ``val_anny`` (held-out synthetic
        heads), ``test`` (photos); and, over the pixels that the shipped model's mask keeps, ``test_mask``
        of the photos as they are and ``test_removed`` of the photos with their background removed.
        """
        chosen = chosen_samples(train, run)
        own = shrunk(train.take(chosen[_evenly(len(chosen), self._most)]), self._size)
        val = self.val.shards[0]
        sets = {
            "train": own,
            "val": val,
            "test": self.photos,
            "test_mask": self._masked,
            "test_removed": self._cut,
        }
        values = {name: _l1(network, samples) for name, samples in sets.items()}
        for name, topology in (("val_ict", ICT), ("val_anny", ANNY)):
            values[name] = {key: value[val.topology == topology] for key, value in values["val"].items()}
        return {name + key: _mean(value) for name, one in values.items() for key, value in one.items()}


def without_background(samples: Samples, inside: Array) -> tuple[Samples, Samples]:
    """The samples with depth known only ``inside`` (N, S, S) bool; and the same, all else painted grey."""
    flags = np.where(inside, samples.flags, samples.flags & ~np.uint8(DEPTH_KNOWN))
    masked = dataclasses.replace(samples, flags=flags)
    painted = np.where(inside[..., None], samples.image, np.uint8(BACKGROUND))
    return masked, dataclasses.replace(masked, image=painted)


def predicted_masks(engine: Engine, images: Array, mask_size: int, size: int) -> Array:
    """(N, size, size) float32 probability of head of (N, S, S, 3) uint8 pictures, one at a time."""
    masks = []
    for image in images:
        picture = cv2.resize(image, (mask_size, mask_size), interpolation=cv2.INTER_AREA)
        mask = engine.run({"image": to_network(picture)})["mask"][0, 0]
        masks.append(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(masks)


def _l1(network: DepthNetwork, samples: Samples) -> dict[str, Array]:
    parts = [
        predict(network, Dataset([samples]).take(np.arange(start, min(start + CHUNK, len(samples))))).depth
        for start in range(0, len(samples), CHUNK)
    ]
    depth, truth, head = np.concatenate(parts), samples.depth.astype(np.float32), regions.head(samples)
    return {
        "": metrics.depth_l1(depth, truth, head),
        "_normalised": metrics.normalised_l1(depth, truth, head),
    }


def _mean(values: Array) -> float | None:
    """Mean over the samples that have a value; ``None`` where none has."""
    mean = metrics.mean(values)
    return round(mean, 5) if np.isfinite(mean) else None


def _part(dataset: Dataset, kind: int, most: int, what: str) -> Samples:
    """Samples of a kind, spread over the split."""
    rows = np.flatnonzero(np.concatenate([shard.kind for shard in dataset.shards]) == kind)
    if len(rows) == 0:
        raise InputError(f"The study needs a {what} to judge by; draw the data with photos and validation.")
    return dataset.take(rows[_evenly(len(rows), most)])


def _evenly(count: int, most: int) -> Array:
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
