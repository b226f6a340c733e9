"""The device's node and the host's chain give the same depth, surface and mesh, frame by frame."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import HostDriver
from device.device_network import CAMERA, capture_of, look
from people import depths_of, surfaces_of
from skimage import data

from stream.compute.cuda.arrays import DeviceArray, empty
from stream.depth.stage import DepthStage
from stream.device.stage import DeviceStage
from stream.geometry import mm_per_crop_unit
from stream.inference.backends import load_engine
from stream.inference.engine import TensorSpec
from stream.mesh.stage import MeshStage, SurfaceStage
from stream.models.store import open_model
from stream.types import Array, Capture, Crop, Face

PHOTO = data.astronaut()

RMS_MM, LEAST_IOU = 0.1, 0.99
"""What depth may differ by at an inter-pupil distance of 63 mm, and masks."""


class HardNetwork:
    """An engine that sees a head with a collar behind it, a finger before it, a hole and a strand of hair.

    All of it has noise, which is the picture's.
    """

    backend = "made up"

    def __init__(self, size: int, maps: int) -> None:
        self.inputs = (TensorSpec("image", (1, 3, size, size), "float32"),)
        names = ("depth", "mask", "confidence")
        self.outputs = tuple(TensorSpec(name, (1, 1, maps, maps), "float32") for name in names)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        (image,) = inputs["image"]
        maps = self.outputs[0].shape[-1]
        assert maps is not None
        step = image.shape[1] // maps
        brightness = image[:, ::step, ::step].mean(axis=0)
        axis = (np.arange(maps) + 0.5) / maps * 2 - 1
        x, y = axis[None], axis[:, None]
        depth = 0.5 * (x**2 + y**2) + 0.02 * brightness
        depth = np.where(y > 0.6, 0.9, depth)
        mask = 1 / (1 + np.exp(np.clip(20 * (np.hypot(x, 0.8 * y) - 0.75), -30, 30))) + 0.05 * brightness
        mask = np.where((np.abs(x - 0.2) < 0.09) & (y > -0.3) & (y < 0.2), 0.1, mask)
        mask = np.where((np.abs(x + 0.3) < 0.04) & (np.abs(y - 0.2) < 0.04), 0.2, mask)
        mask = np.where((np.abs(x + 0.9) < 0.02) & (np.abs(y) < 0.5), 0.9, mask)
        sure = 0.8 + 0.2 * brightness
        found = zip(("depth", "mask", "confidence"), (depth, mask, sure), strict=True)
        return {name: values[None, None].astype(np.float32) for name, values in found}


class OnDevice:
    """An engine of one crop as a network of the device's."""

    capturable = True

    def __init__(self, engine: Any, driver: HostDriver, faces: int) -> None:
        self.engine, self.driver = engine, driver
        self.backend, self.inputs, self.outputs = engine.backend, engine.inputs, engine.outputs
        self.made = {spec.name: empty(driver, (faces, *spec.shape[1:]), "float32") for spec in engine.outputs}

    def run_device(self, inputs: Mapping[str, Any], stream: Any) -> dict[str, DeviceArray]:
        crops = inputs["image"]
        given = {name: array[: crops.shape[0]] for name, array in self.made.items()}

        def work() -> None:
            for number, crop in enumerate(look(crops)):
                for name, values in self.engine.run({"image": crop[None]}).items():
                    look(given[name])[number] = values[0]

        self.driver._queue(work)
        return given


def faces_at(*places: tuple[float, float]) -> list[Face]:
    """Heads half a metre away, in crops like that of the photo's face."""
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 500
    return [
        Face(track, np.zeros((478, 3), np.float32), pose, Crop(x, y, 100.0, 0.1 * track), CAMERA)
        for track, (x, y) in enumerate(places)
    ]


def still_and_moving(rng: np.random.Generator) -> list[Capture]:
    """Two faces: a camera's noise on a still picture, then a move, then still again; one goes at last."""
    captures = []
    for number in range(14):
        moved = np.roll(PHOTO, 6 * min(max(number - 5, 0), 3), axis=1)
        noisy = np.clip(moved + rng.normal(0, 2, PHOTO.shape), 0, 255).astype(np.uint8)
        faces = faces_at((224, 120), (330, 250))
        captures.append(capture_of(noisy, number, *faces[: 2 if number < 11 else 1]))
    return captures


def check_alike(host: Sequence[Capture], device: Sequence[Capture]) -> None:
    for one, other in zip(host, device, strict=True):
        assert other.known == one.known == {"face", "depth", "surface", "mesh"}
        pairs = zip(depths_of(one), depths_of(other), surfaces_of(one), surfaces_of(other), strict=True)
        for number, (depth, there, surface, made) in enumerate(pairs):
            face = one.people[number].face
            unit = mm_per_crop_unit(face.crop, face.intrinsics, float(face.pose[2, 3]))
            head, its_head = surface.alpha > 0, made.alpha > 0
            assert head.mean() > 0.2
            assert (head & its_head).sum() / (head | its_head).sum() >= LEAST_IOU
            mesh, its = one.meshes[number], other.meshes[number]
            shared = mesh.valid & its.valid
            assert shared.sum() / (mesh.valid | its.valid).sum() >= LEAST_IOU
            for a, b in ((depth.map, there.map), (surface.depth, made.depth)):
                assert np.sqrt(np.mean((a - b).ravel()[shared] ** 2)) * unit <= RMS_MM
            assert np.abs(depth.mask - there.mask).mean() < 0.01
            assert depth.confidence is not None
            assert there.confidence is not None
            assert np.abs(depth.confidence - there.confidence).mean() < 0.01
            assert mesh.uv.shape == its.uv.shape
            np.testing.assert_allclose(mesh.uv, its.uv, atol=1e-6)
            away = np.linalg.norm(mesh.vertices - its.vertices, axis=1)[shared]
            assert np.sqrt(np.mean(away**2)) <= RMS_MM
            turned = np.einsum("ij,ij->i", mesh.normals, its.normals)[shared]
            assert np.degrees(np.arccos(np.clip(turned, -1, 1))).mean() < 1


def run(captures: Sequence[Capture], *stages: Callable[[], Any]) -> list[Capture]:
    opened = [stage() for stage in stages]
    for stage in opened:
        stage.open()
    results = []
    for capture in captures:
        for stage in opened:
            capture = stage(capture)
        results.append(capture)
    return results


def on_host_and_device(
    driver: HostDriver, engine: Any, captures: Sequence[Capture], side: int, smooth: bool = True
) -> tuple[list[Capture], list[Capture]]:
    host = run(
        captures,
        lambda: DepthStage(lambda: engine, side, smooth),
        SurfaceStage,
        lambda: MeshStage("numba"),
    )
    device = run(captures, lambda: DeviceStage(lambda: OnDevice(engine, driver, 2), side, 2, smooth))
    return host, device


@pytest.mark.parametrize(("size", "maps", "side"), [(192, 192, 128), (96, 96, 96), (128, 64, 96)])
def test_a_hard_head_is_the_same_while_it_is_still_and_while_it_moves(
    driver: HostDriver, size: int, maps: int, side: int
) -> None:
    captures = still_and_moving(np.random.default_rng(size))
    check_alike(*on_host_and_device(driver, HardNetwork(size, maps), captures, side))


def test_the_shipped_network_gives_the_same(driver: HostDriver) -> None:
    engine = load_engine(open_model("depth"), "onnxruntime", threads=1)
    rng, captures = np.random.default_rng(1), []
    for number in range(5):
        noisy = np.clip(PHOTO + rng.normal(0, 2, PHOTO.shape), 0, 255).astype(np.uint8)
        captures.append(capture_of(noisy, number, *faces_at((224, 120))))
    check_alike(*on_host_and_device(driver, engine, captures, 128))


def test_a_broken_network_leaves_the_same_holes(driver: HostDriver) -> None:
    class Broken(HardNetwork):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            found = super().run(inputs)
            found["depth"][..., 40:44, 40:44] = np.nan
            found["confidence"][..., 70:71, 60:80] = np.inf
            return found

    captures = [replace(one, people=one.people[:1]) for one in still_and_moving(np.random.default_rng(0))[:4]]
    host, device = on_host_and_device(driver, Broken(192, 192), captures, 128, smooth=False)
    check_alike(host, device)
    for one in (*host, *device):
        assert np.isfinite(depths_of(one)[0].map).all()
