"""The depth network applied to a face: image and crop in, depth map and mask out."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np

from stream.depth.preprocess import to_network
from stream.depth.sight import line_of_sight, sight_tilt
from stream.errors import InputError, ModelError
from stream.face.crop import MAX_SIDE, crop_image
from stream.inference.backends import load_engine
from stream.inference.engine import Engine
from stream.inference.store import open_model
from stream.types import Array, Crop, Depth, Intrinsics

log = logging.getLogger(__name__)


class DepthEstimator:
    """Estimates depth over face crops; not to be called from two threads at once.

    :param backend: see `stream.inference.backends.load_engine`.
    :param model: a name in the manifest, or the path of an ONNX file with the input ``image``
        (N, 3, S, S) and the outputs ``depth`` and ``mask`` (N, 1, S, S), all float32.
    :param threads: CPU threads for one run.
    :param precision: ``f32`` for exact float32: about a degree better normals at about twice the time
        (`stream.inference.backend_openvino`), so right for still images.
    :ivar size: side of the crop and of the maps, pixels.
    :ivar engine: the network.
    :ivar repaired: maps so far in which the network gave values that are not finite.
    :raises ModelError: the model is missing, damaged or of another shape.
    :raises BackendError: no backend can run it here.
    :raises ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        backend: str = "auto",
        model: str | Path = "depth",
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        path = model if isinstance(model, Path) else open_model(model)
        self.engine: Engine = load_engine(path, backend, threads, precision)
        self.size = _crop_size(self.engine)
        self.repaired = 0
        self._buffer = np.zeros((1, 3, self.size, self.size), dtype=np.float32)
        self._infer(np.zeros((self.size, self.size, 3), dtype=np.uint8))  # the first run is slow: not live

    def estimate(self, image: Array, crop: Crop, intrinsics: Intrinsics | None = None) -> Depth:
        """Depth of the face in ``crop``.

        :param image: (H, W, 3) uint8 RGB.
        :param intrinsics: the image's camera, which tells how far the line of sight to the crop is from
            its axis (`stream.depth.sight`); without it the face is taken to be in the picture's middle.
        :returns: maps of (size, size) that belong to the caller. Where the network's output is not finite,
            depth and mask are 0 (and `repaired` counts it).
        :raises InputError: the image or the crop cannot be used.
        """
        depth, mask = self._infer(self._cut(image, crop))
        return self._repair(self._along_axis(depth, crop, intrinsics), mask)

    def estimate_flipped_mean(self, image: Array, crop: Crop, intrinsics: Intrinsics | None = None) -> Depth:
        """As `estimate`, averaged with the mirrored result of the mirrored crop: for still images.

        Takes twice as long; a left-right bias of the network cancels.
        """
        picture = self._cut(image, crop)
        depth, mask = self._infer(picture)
        mirrored_depth, mirrored_mask = self._infer(picture[:, ::-1])
        mean = (depth + mirrored_depth[:, ::-1]) / 2
        return self._repair(self._along_axis(mean, crop, intrinsics), (mask + mirrored_mask[:, ::-1]) / 2)

    def close(self) -> None:
        """Free the network."""
        self.engine.close()

    def _cut(self, image: Array, crop: Crop) -> Array:
        _check(image, crop)
        return crop_image(image, crop, self.size)

    def _infer(self, picture: Array) -> tuple[Array, Array]:
        outputs = self.engine.run({"image": to_network(picture, out=self._buffer)})
        return outputs["depth"][0, 0], outputs["mask"][0, 0]

    def _along_axis(self, depth: Array, crop: Crop, intrinsics: Intrinsics | None) -> Array:
        if intrinsics is None:
            return depth
        return depth - sight_tilt(line_of_sight(crop, intrinsics), self.size)

    def _repair(self, depth: Array, mask: Array) -> Depth:
        finite = np.isfinite(depth) & np.isfinite(mask)
        if not finite.all():
            self.repaired += 1
            if self.repaired == 1:
                log.warning(
                    "The depth network gave values that are not finite; they are left out of the mesh."
                )
            depth = np.where(finite, depth, np.float32(0.0))
            mask = np.where(finite, mask, np.float32(0.0))
        return Depth(depth, np.clip(mask, 0.0, 1.0))


def _crop_size(engine: Engine) -> int:
    """Side of the crop the network takes.

    :raises ModelError: its inputs or outputs are not those of a depth network.
    """
    inputs = {spec.name: (spec.shape, spec.dtype) for spec in engine.inputs}
    outputs = {spec.name: (spec.shape, spec.dtype) for spec in engine.outputs}
    size = engine.inputs[0].shape[-1] if engine.inputs and engine.inputs[0].shape else None
    maps = ((1, 1, size, size), "float32")
    if not size or inputs != {"image": ((1, 3, size, size), "float32")}:
        raise ModelError(f"This is no depth network: it takes {inputs}, not one float32 image (1, 3, S, S).")
    if outputs != {"depth": maps, "mask": maps}:
        raise ModelError(f"This is no depth network: it gives {outputs}, not depth and mask like its input.")
    return size


def _check(image: Array, crop: Crop) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"The image must be uint8 RGB (H, W, 3), not {image.dtype.name} {image.shape}.")
    if not 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= MAX_SIDE:
        raise InputError(
            f"The image is {image.shape[1]}x{image.shape[0]}; sides must be 1..{MAX_SIDE} pixels."
        )
    values = (crop.x, crop.y, crop.half, crop.angle)
    if not all(math.isfinite(value) for value in values) or not 0.5 <= crop.half <= MAX_SIDE:
        raise InputError(
            f"{crop} is no usable crop; its values must be finite and its half side 0.5 or more."
        )
    if max(abs(crop.x), abs(crop.y)) > 2 * MAX_SIDE:
        raise InputError(f"{crop} lies outside any image.")
