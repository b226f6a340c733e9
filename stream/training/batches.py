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

from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.evaluation.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, Dataset, Samples
from stream.training.augment import Augmenter

AHEAD = 4
"""Batches kept ready."""


class Batch:
    """Samples as tensors.

    :ivar image: (N, 3, S, S) float32 in [-1, 1].
    :ivar depth: (N, 1, S, S) float32 crop units along the line of sight, which is what a crop can tell.
    :ivar depth_known, mask_known, foreground: (N, 1, S, S) bool.
    :ivar kind: (N,) uint8.
    """

    def __init__(self, samples: Samples) -> None:
        self.image = torch.from_numpy(to_network(samples.image))
        self.depth = torch.from_numpy(samples.depth + sight_tilt(samples.sight, samples.size))[:, None]
        self.depth_known = _flag(samples, DEPTH_KNOWN)
        self.mask_known = _flag(samples, MASK_KNOWN)
        self.foreground = _flag(samples, FOREGROUND)
        self.kind = torch.from_numpy(samples.kind)

    def __len__(self) -> int:
        return len(self.image)


def batch_indices(count: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Which samples step ``step`` (from 0) trains on: every epoch is a new permutation without rests."""
    per_epoch = max(1, count // batch)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return np.resize(order[place * batch : (place + 1) * batch], batch)


class BatchLoader:
    """Augmented batches of steps ``start`` ... ``stop - 1``; the same for the same seed, resumed or not.

    Use as a context manager; leaving it ends the thread.
    """

    def __init__(
        self, dataset: Dataset, augment: Augmenter, batch: int, seed: int, start: int, stop: int
    ) -> None:
        self._dataset, self._augment = dataset, augment
        self._batch, self._seed, self._start, self._stop = batch, seed, start, stop
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

    def _work(self) -> None:
        cv2.setNumThreads(1)  # the training threads own the cores
        try:
            for step in range(self._start, self._stop):
                if not self._put(self._make(step)):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _make(self, step: int) -> Batch:
        indices = batch_indices(len(self._dataset), self._batch, step, self._seed)
        samples = self._dataset.take(indices)
        self._augment(samples, np.random.default_rng([self._seed, step, 1]))
        return Batch(samples)

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


def _flag(samples: Samples, bit: int) -> Tensor:
    return torch.from_numpy((samples.flags & bit) > 0)[:, None]
