"""The pipeline's depth stage: a capture with faces in, the same with one depth map per face out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from stream.depth.estimator import DepthEstimator
from stream.errors import ModelError
from stream.inference.engine import Engine
from stream.types import Array, Capture, Depth


class DepthStage:
    """Adds ``depths``, one per face in the faces' order; a `stream.pipeline.stage.Stage`.

    The parameters are those of `DepthEstimator`, which `open` makes on the worker thread.

    :param side: side of the maps handed on, pixels, where the network's are larger; ``None`` keeps them.
    :param engine: gives a network that is loaded already (`stream.inference.shared.SharedEngine.front`).
    """

    name = "depth"

    def __init__(
        self,
        backend: str = "auto",
        model: str | Path = "depth",
        threads: int | None = None,
        precision: str | None = None,
        side: int | None = None,
        engine: Callable[[], Engine] | None = None,
    ) -> None:
        self._backend, self._model = backend, model
        self._threads, self._precision = threads, precision
        self._side = side
        self._engine = engine
        self._estimator: DepthEstimator | None = None

    def open(self) -> None:
        """Load the network.

        :raises ModelError, BackendError, ConfigError: as `DepthEstimator`.
        """
        self._estimator = DepthEstimator(
            self._backend,
            self._model,
            self._threads,
            self._precision,
            normals=False,
            engine=None if self._engine is None else self._engine(),
        )

    def __call__(self, capture: Capture) -> Capture:
        """Estimate the depth of every face.

        :raises InputError: the frame's image or a face's crop cannot be used.
        """
        if self._estimator is None:
            raise ModelError("The depth stage is not open; open it before the first capture.")
        estimate, image = self._estimator.estimate, capture.frame.image
        depths = tuple(estimate(image, face.crop, face.intrinsics) for face in capture.faces)
        if self._side is not None and self._side < self._estimator.size:
            depths = tuple(shrunk(depth, self._side) for depth in depths)
        return replace(capture, depths=depths)

    def close(self) -> None:
        """Free the network."""
        if self._estimator is not None:
            self._estimator.close()
            self._estimator = None


def shrunk(depth: Depth, side: int) -> Depth:
    """Depth, mask and confidence (``side``, ``side``) of larger ones, read between their pixels' centres.

    Normals are left out: they are of the finer surface.
    """

    def smaller(values: Array) -> Array:
        return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR))

    confidence = None if depth.confidence is None else smaller(depth.confidence)
    return Depth(smaller(depth.map), smaller(depth.mask), confidence)
