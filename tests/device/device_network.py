"""A network made of the host driver's memory, and captures for it."""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from compute.host_driver import HostDriver
from people import capture_with

from stream.compute.cuda.arrays import DeviceArray, empty
from stream.geometry import intrinsics_from_fov
from stream.inference.engine import TensorSpec
from stream.types import Array, Capture, Crop, Face, Frame

SIZE = 64
CAMERA = intrinsics_from_fov(512, 512, 60.0)


def maps_of(crops: Array) -> tuple[Array, Array]:
    """A "network": depth from brightness, a round mask."""
    axis = np.linspace(-1, 1, SIZE)
    round_mask = (np.hypot(axis[:, None], axis) < 0.9).astype(np.float32)
    depth = (0.05 * crops.mean(axis=1, keepdims=True)).astype(np.float32)
    return depth, np.broadcast_to(round_mask, depth.shape).astype(np.float32)


class Network:
    """`maps_of` as work on the driver's queue, reading and writing by address, as a GPU's network does."""

    backend, capturable = "made up", True
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", (2, 3, SIZE, SIZE), "float32"),)
    outputs: tuple[TensorSpec, ...] = tuple(
        TensorSpec(name, (2, 1, SIZE, SIZE), "float32") for name in ("depth", "mask")
    )

    def __init__(self, driver: HostDriver) -> None:
        self.driver, self.closed = driver, False
        self.made = {spec.name: empty(driver, (2, 1, SIZE, SIZE), "float32") for spec in self.outputs}

    def run_device(self, inputs: Mapping[str, Any], stream: Any) -> dict[str, DeviceArray]:
        crops = inputs["image"]
        given = {name: array[: crops.shape[0]] for name, array in self.made.items()}

        def work() -> None:
            for name, values in zip(("depth", "mask"), maps_of(look(crops)), strict=True):
                look(given[name])[...] = values

        self.driver._queue(work)
        return given

    def close(self) -> None:
        self.closed = True


def look(array: DeviceArray) -> Array:
    """The host driver's memory as numpy sees it."""
    buffer = (ctypes.c_char * array.nbytes).from_address(array.pointer)
    return np.frombuffer(memoryview(buffer), array.dtype).reshape(array.shape)


def face_at(x: float, y: float, track: int = 0) -> Face:
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 600
    return Face(track, np.zeros((478, 3), np.float32), pose, Crop(x, y, 90.0, 0.15), CAMERA)


def capture_of(image: Array, number: int, *faces: Face) -> Capture:
    return capture_with(
        Frame(np.ascontiguousarray(image), number / 30, number, "test"), faces or (face_at(220, 110),)
    )
