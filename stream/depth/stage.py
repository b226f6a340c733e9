"""The pipeline's depth stage: a capture with faces in, the same with one depth map per face out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stream.depth.estimator import DepthEstimator
from stream.depth.maps import resized, resized_surface
from stream.errors import ModelError
from stream.inference.engine import Engine
from stream.types import Capture, Depth


class DepthStage:
    """Adds ``depths``, one per face in the faces' order; a `stream.pipeline.stage.Stage`.

    The parameters are those of `DepthEstimator`, which `open` makes on the worker thread.

    :param side: side of the maps handed on, pixels; ``None`` keeps the network's.
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
        if self._side is not None and self._side != self._estimator.maps_size:
            depths = tuple(shrunk(depth, self._side) for depth in depths)
        return replace(capture, depths=depths)

    def close(self) -> None:
        """Free the network."""
        if self._estimator is not None:
            self._estimator.close()
            self._estimator = None


def shrunk(depth: Depth, side: int) -> Depth:
    """Depth, mask and confidence (``side``, ``side``) of others (`stream.depth.maps.resized`).

    Normals are left out: they are of the surface at its own size.
    """
    confidence = None if depth.confidence is None else resized(depth.confidence, side)
    return Depth(resized_surface(depth.map, side), resized(depth.mask, side), confidence)
