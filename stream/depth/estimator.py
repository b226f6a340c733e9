"""The depth network applied to a face: image and crop in, depth and what belongs to it out."""

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
from stream.models.store import open_model
from stream.types import Array, Crop, Depth, Intrinsics

log = logging.getLogger(__name__)


class DepthEstimator:
    """Estimates depth over face crops; not to be called from two threads at once.

    :param backend: see `stream.inference.backends.load_engine`.
    :param model: a name in the manifest, or the path of an ONNX file with the input ``image``
        (N, 3, S, S), the outputs ``depth`` and ``mask`` (N, 1, S, S), and perhaps ``confidence``
        (N, 1, S, S) and ``normal`` (N, 3, S, S), of depth along the line of sight; all float32. All maps may
        have half the side.
    :param threads: CPU threads for one run.
    :param precision: ``f32`` for exact float32: about a degree better normals at about twice the time
        (`stream.inference.backend_openvino`), so right for still images.
    :param normals: give `Depth.normal` where the network has it; live capture, which does not use it, saves
        a fifth of a millisecond without.
    :param engine: a network that is loaded already, instead of all the above that says which one.
    :ivar size: side of the crop, pixels; ``maps_size``: side of the maps.
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
        normals: bool = True,
        engine: Engine | None = None,
    ) -> None:
        if engine is None:
            path = model if isinstance(model, Path) else open_model(model)
            engine = load_engine(path, backend, threads, precision)
        self.engine = engine
        self.size, self.maps_size = _sizes(self.engine)
        self.repaired = 0
        self._normals = normals
        self._buffer = np.zeros((1, 3, self.size, self.size), dtype=np.float32)
        self._infer(np.zeros((self.size, self.size, 3), dtype=np.uint8))  # the first run is slow: not live

    def estimate(self, image: Array, crop: Crop, intrinsics: Intrinsics | None = None) -> Depth:
        """Depth of the face in ``crop``.

        :param image: (H, W, 3) uint8 RGB.
        :param intrinsics: the image's camera, which tells how far the line of sight to the crop is from
            its axis (`stream.depth.sight`); without it the face is taken to be in the picture's middle.
        :returns: maps of (maps_size, maps_size) that belong to the caller, `Depth.confidence` and
            `Depth.normal` too where the network gives them. Where one of its outputs is not finite, depth,
            mask and confidence are 0 and the normal looks at the camera (and `repaired` counts it).
        :raises InputError: the image or the crop cannot be used.
        """
        return self._depth(self._infer(self._cut(image, crop)), crop, intrinsics)

    def estimate_along_sight(self, image: Array, crop: Crop) -> tuple[Depth, Array]:
        """As `estimate`, but along the line of sight to the crop, and with the picture the network saw.

        :returns: depth relative to the plane through the eyes across the line of sight
            (`stream.depth.sight`), and (size, size, 3) uint8 RGB.
        """
        picture = self._cut(image, crop)
        return self._depth(self._infer(picture), crop, None), picture

    def estimate_flipped_mean(self, image: Array, crop: Crop, intrinsics: Intrinsics | None = None) -> Depth:
        """As `estimate`, averaged with the mirrored result of the mirrored crop: for still images.

        Takes twice as long; a left-right bias of the network cancels.
        """
        picture = self._cut(image, crop)
        outputs = self._infer(picture)
        mirrored = self._infer(picture[:, ::-1])
        means = {name: (value + _mirrored(name, mirrored[name])) / 2 for name, value in outputs.items()}
        return self._depth(means, crop, intrinsics)

    def close(self) -> None:
        """Free the network."""
        self.engine.close()

    def _cut(self, image: Array, crop: Crop) -> Array:
        check_picture(image, crop)
        return crop_image(image, crop, self.size)

    def _infer(self, picture: Array) -> dict[str, Array]:
        """The outputs, (C, maps_size, maps_size) each."""
        outputs = self.engine.run({"image": to_network(picture, out=self._buffer)})
        return {name: value[0] for name, value in outputs.items() if self._normals or name != "normal"}

    def _depth(self, outputs: dict[str, Array], crop: Crop, intrinsics: Intrinsics | None) -> Depth:
        """Outputs along the line of sight to maps along the camera's axis, repaired."""
        outputs = self._repaired(outputs)
        depth, normal = outputs["depth"][0], outputs.get("normal")
        sight = None if intrinsics is None else line_of_sight(crop, intrinsics)
        if sight is not None:
            depth = depth - sight_tilt(sight, self.maps_size)
        if normal is not None:
            normal = _unit(normal if sight is None else _tilted(normal, sight))
            normal = np.ascontiguousarray(normal.transpose(1, 2, 0))
        confidence = np.clip(outputs["confidence"][0], 0.0, 1.0) if "confidence" in outputs else None
        return Depth(depth, np.clip(outputs["mask"][0], 0.0, 1.0), confidence, normal)

    def _repaired(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """The same where everything is finite; elsewhere 0, and a normal that looks at the camera."""
        finite = np.logical_and.reduce([np.isfinite(value).all(axis=0) for value in outputs.values()])
        if finite.all():
            return outputs
        self.repaired += 1
        if self.repaired == 1:
            log.warning("The depth network gave values that are not finite; they are left out of the mesh.")
        return {name: np.where(finite, value, _neutral(name)) for name, value in outputs.items()}


def _neutral(name: str) -> Array:
    value = (0.0, 0.0, -1.0) if name == "normal" else (0.0,)
    return np.array(value, dtype=np.float32)[:, None, None]


def _mirrored(name: str, values: Array) -> Array:
    """Output ``name`` (C, S, S) of the mirrored picture, as seen in the picture itself."""
    mirrored = values[..., ::-1]
    # The mirror turns normals that look to the right into such as look to the left.
    return mirrored * np.array([[[-1]], [[1]], [[1]]], dtype=np.float32) if name == "normal" else mirrored


def _tilted(normal: Array, sight: Array) -> Array:
    """Normals (3, S, S), of any length, of depth along the axis from those of depth along the sight.

    With slopes p, q a normal is along (p, q, -1), and the tilt (`stream.depth.sight`) takes the tangents of
    the line of sight from the slopes.
    """
    return normal + normal[2] * np.array([*sight, 0.0], dtype=np.float32)[:, None, None]


def _unit(normal: Array) -> Array:
    """Normals (3, S, S) at length 1; one that does not look at the camera at all becomes one that does."""
    usable = normal[2] < 0
    if not usable.all():
        normal = np.where(usable, normal, _neutral("normal"))
    unit: Array = normal / np.sqrt(np.einsum("cij,cij->ij", normal, normal))
    return unit


def _sizes(engine: Engine) -> tuple[int, int]:
    """Sides of the crop the network takes and of the maps it gives.

    :raises ModelError: its inputs or outputs are not those of a depth network.
    """
    inputs = {spec.name: (spec.shape, spec.dtype) for spec in engine.inputs}
    outputs = {spec.name: (spec.shape, spec.dtype) for spec in engine.outputs}
    size = engine.inputs[0].shape[-1] if engine.inputs and engine.inputs[0].shape else None
    if not size or inputs != {"image": ((1, 3, size, size), "float32")}:
        raise ModelError(f"This is no depth network: it takes {inputs}, not one float32 image (1, 3, S, S).")
    for side in (size, size // 2):
        maps, vectors = ((1, 1, side, side), "float32"), ((1, 3, side, side), "float32")
        known = {"depth": maps, "mask": maps, "confidence": maps, "normal": vectors}
        if {"depth", "mask"} <= outputs.keys() and outputs.items() <= known.items():
            return size, side
    raise ModelError(
        f"This is no depth network: it gives {outputs}, not depth and mask of its input's size or half of it."
    )


def check_picture(image: Array, crop: Crop) -> None:
    """Refuse an image or a crop from which no network can be fed.

    :raises InputError: the image is not uint8 RGB of 1..32766 pixels a side, or the crop is far away, tiny,
        huge or not finite.
    """
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
