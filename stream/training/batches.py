"""Batches for training, made on a thread of their own while the network computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np
import torch
from torch import Tensor

from stream.data.shards import (
    ANNY,
    DEPTH_KNOWN,
    FOREGROUND,
    ICT,
    MASK_KNOWN,
    MOUTH,
    OCCLUDER,
    PHOTO,
    SKIN,
    SYNTHETIC,
    Dataset,
    Samples,
)
from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.errors import ConfigError
from stream.training.augment import Augmenter
from stream.training.settings import DepthTraining
from stream.training.targets import shrunk, sight_normals
from stream.types import Array

AHEAD = 4
"""Batches kept ready."""

SEEN_TWICE = 2
"""Photos of a batch that are shown once more for the consistency between views."""

BORDER = np.ones((5, 5), np.uint8)
"""Pixels whose 5x5 neighbourhood holds both head and background are the mask's border."""

OPENING = np.ones((3, 3), np.uint8)

_TOPOLOGIES = {"ict": ICT, "anny": ANNY}


class Batch:
    """Samples as tensors; N of them, maps S pixels wide, pictures as wide or wider.

    Depth and normals are known where the head is seen: what is held before it is for the mask to cut out.

    :ivar image: (N, 3, P, P) float32 in [-1, 1].
    :ivar depth: (N, 1, S, S) float32 crop units along the line of sight, which is what a crop can tell.
    :ivar normal: (N, 3, S, S) float32 unit normals of the true surface, as a height field of that depth
        (`stream.training.targets.sight_normals`).
    :ivar depth_known, normal_known, mask_known, foreground: (N, 1, S, S) bool.
    :ivar skin, occluder: (N, 1, S, S) bool, the face's skin, and what is held before it.
    :ivar mouth: (N, 1, S, S) bool, the inside of an open mouth; the slit between closed lips, thinner than
        `OPENING` pixels, is none.
    :ivar border: (N, 1, S, S) bool, the foreground's border.
    :ivar kind: (N,) uint8.
    :ivar again: (M,) int64 rows of photos that are shown a second time.
    :ivar mirrored: (M, 3, P, P) float32, those photos mirrored and otherwise as they were before the
        augmentation of ``image``.
    """

    def __init__(
        self,
        samples: Samples,
        again: Array | None = None,
        mirrored: Array | None = None,
        image: Array | None = None,
    ) -> None:
        """:param image: (N, P, P, 3) uint8, the pictures where they are larger than the samples' own."""
        self.image = torch.from_numpy(to_network(samples.image if image is None else image))
        self.depth = torch.from_numpy(samples.depth + sight_tilt(samples.sight, samples.size))[:, None]
        normal, known = sight_normals(samples)
        self.normal, self.normal_known = torch.from_numpy(normal), torch.from_numpy(known)[:, None]
        self.depth_known = _flags(samples, DEPTH_KNOWN | FOREGROUND)
        self.mask_known = _flags(samples, MASK_KNOWN)
        self.foreground = _flags(samples, FOREGROUND)
        self.skin, self.occluder = _flags(samples, SKIN), _flags(samples, OCCLUDER)
        self.mouth = torch.from_numpy(_opened(samples.flags & MOUTH))[:, None]
        self.border = torch.from_numpy(_border(samples.flags & FOREGROUND))[:, None]
        self.kind = torch.from_numpy(samples.kind)
        none = again is None or mirrored is None or len(again) == 0
        self.again = torch.from_numpy(np.zeros(0, np.int64) if none else again)
        self.mirrored = torch.zeros(0, *self.image.shape[1:])
        if not none:
            self.mirrored = torch.from_numpy(to_network(np.ascontiguousarray(mirrored)))

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device) -> Batch:
        """This batch, its tensors on a device."""
        for name, value in vars(self).items():
            setattr(self, name, value.to(device, non_blocking=True))
        return self


def chosen_samples(dataset: Dataset, settings: DepthTraining) -> Array:
    """(M,) int64 indices of the samples that these settings train on.

    :raises ConfigError: there is none.
    """
    kind, topology = (
        np.concatenate([getattr(s, name) for s in dataset.shards]) for name in ("kind", "topology")
    )
    wanted = np.isin(topology, [_TOPOLOGIES[name] for name in settings.topologies])
    if not settings.photos:
        wanted &= kind == SYNTHETIC
    indices = np.flatnonzero(wanted)
    if settings.samples is not None:
        # Shuffled: shards may each hold one kind of head, so that the first ones would not stand for all.
        indices = np.random.default_rng(0).permutation(indices)[: settings.samples]
    if len(indices) == 0:
        raise ConfigError("No training sample is left with these topologies and without photos; allow more.")
    return indices


def batch_indices(count: int, batch: int, step: int, seed: int) -> Array:
    """Which samples step ``step`` (from 0) trains on: every epoch is a new permutation without rests."""
    per_epoch = max(1, count // batch)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return np.resize(order[place * batch : (place + 1) * batch], batch)


class BatchLoader:
    """Augmented batches of the steps ``start`` ... ``settings.steps - 1``.

    They are the same for the same settings, resumed or not. Use as a context manager; leaving it ends the
    thread.

    :param maps_stride: pixels of the pictures per pixel of the labels, along each side.
    :raises ConfigError: the settings leave no sample to train on.
    """

    def __init__(
        self, dataset: Dataset, settings: DepthTraining, start: int = 0, maps_stride: int = 1
    ) -> None:
        self._dataset, self._settings, self._start = dataset, settings, start
        self._stride = maps_stride
        self._augment = Augmenter(settings.augment)
        self._chosen = chosen_samples(dataset, settings)
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)

    def __enter__(self) -> BatchLoader:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        while self._thread.is_alive():
            _drain(self._ready)
            self._thread.join(timeout=0.05)

    def __iter__(self) -> Iterator[Batch]:
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def make(self, step: int) -> Batch:
        """The batch of step ``step``, made here and now."""
        settings = self._settings
        places = batch_indices(len(self._chosen), settings.batch, step, settings.seed)
        samples = shrunk(self._dataset.take(self._chosen[places]), settings.size_at(step))
        rng = np.random.default_rng([settings.seed, step, 1])
        self._augment.mirror(samples, rng)
        again = np.flatnonzero(samples.kind == PHOTO)[: SEEN_TWICE if settings.loss.consistency else 0]
        mirrored = samples.image[again][:, :, ::-1]
        self._augment.degrade(samples, rng)
        labels = shrunk(samples, samples.size // self._stride)
        return Batch(labels, again, mirrored, samples.image)

    def _work(self) -> None:
        cv2.setNumThreads(1)  # the training threads own the cores
        try:
            for step in range(self._start, self._settings.steps):
                if not self._put(self.make(step)):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: Batch | BaseException | None) -> bool:
        """Wait for room; false once nobody wants batches any more."""
        while not self._ended.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _drain(ready: queue.Queue[Batch | BaseException | None]) -> None:
    while not ready.empty():
        ready.get_nowait()


def _flags(samples: Samples, bits: int) -> Tensor:
    """(N, 1, S, S) bool: where all of ``bits`` are set."""
    return torch.from_numpy((samples.flags & bits) == bits)[:, None]


def _opened(mouth: Array) -> Array:
    """(N, S, S) bool: the mask (N, S, S) uint8 without what is thinner than `OPENING`."""
    return np.stack([cv2.morphologyEx(one, cv2.MORPH_OPEN, OPENING) for one in mouth]) > 0


def _border(foreground: Array) -> Array:
    edges = [cv2.morphologyEx(one, cv2.MORPH_GRADIENT, BORDER) for one in foreground]
    return np.stack(edges) > 0
