"""The pipeline's stage from faces to depth and meshes on one GPU, for a network that runs there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from stream.compute.backends import load_twin
from stream.compute.cuda.current import current_driver
from stream.compute.grid_views import grid_views
from stream.compute.smooth_depth import smoothing_rates
from stream.depth.estimator import check_picture
from stream.depth.sight import line_of_sight, sight_plane
from stream.depth.smoothing import MAX_GAP
from stream.depth.stillness import Seen, grey_picture, how_still
from stream.device.frame import DeviceFrame, FrameResult
from stream.device.pool import DeviceMesh, MeshPool
from stream.device.surfaces import FramePasts
from stream.errors import BackendError, InputError
from stream.face.crop import crop_image
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.memory import TrackMemory
from stream.mesh.build import texture_size
from stream.types import Array, Capture, Depth, Face, Frame, Mesh, Person, Surface


@dataclass(frozen=True, slots=True)
class _Past:
    """What is remembered of a track on the host: when it was seen, its picture, and where its head was."""

    seconds: float
    seen: Seen
    head: Array


@dataclass(slots=True)
class _Memory:
    """The state of a track, which `TrackMemory` holds."""

    past: _Past | None = None


class DeviceStage:
    """Adds the ``depth``, ``surface`` and ``mesh`` of each person, made on the GPU.

    A `stream.pipeline.stage.Stage`, in place of `stream.depth.stage.DepthStage` and the two of
    `stream.mesh.stage`, where TensorRT (or PyTorch on CUDA) runs the network: the frame goes up once and what
    became of it comes down, while the host cuts the textures. All are made by the same rules as there.

    :param load: gives the network, on the stage's thread: a `stream.device.frame.DeviceNetwork`.
    :param side: side of the maps handed on, pixels; ``None`` keeps the network's crops'.
    :param faces: the most there are in a frame; more stay without depth, surface and mesh.
    :param smooth: average each track's depth over time.
    :param graphs: as `DeviceFrame`.
    :param memory: where each track's past stays while it is followed.
    """

    name = "device"

    def __init__(
        self,
        load: Callable[[], Any],
        side: int | None = None,
        faces: int = 1,
        smooth: bool = True,
        graphs: bool = True,
        memory: TrackMemory | None = None,
    ) -> None:
        self._load, self._side, self._faces = load, side, faces
        self._smooth, self._graphs = smooth, graphs
        self._memory = TrackMemory() if memory is None else memory
        self.frame: DeviceFrame | None = None
        self._pool: MeshPool | None = None
        self._network: Any = None
        self._uv: Array = np.empty((0, 2), np.float32)

    def open(self) -> None:
        """Load the network, compile the kernels, allocate all memory, and make a first frame.

        :raises ModelError, BackendError, ConfigError: as `stream.inference.backends.load_engine`; the GPU has
            no memory left.
        """
        self._network = self._load()
        if not hasattr(self._network, "run_device"):
            raise BackendError(
                f"The inference backend {self._network.backend} does not work on the GPU's memory; "
                "use --inference tensorrt, or --compute numba."
            )
        load_twin("stillness", "numba")
        side = self._side or int(self._network.inputs[0].shape[-1])
        self.frame = DeviceFrame(current_driver(), self._network, side, self._faces, self._graphs)
        self._uv = _grid_uv(side)
        self._try(self.frame)
        self._pool = MeshPool(current_driver(), self.frame.stream, self._faces, side)

    def _try(self, frame: DeviceFrame) -> None:
        """A frame of nothing, so that what cannot run is known before the first real one."""
        size, side, nothing = frame.size, frame.side, np.zeros((1, 3), np.float32)
        matrix = np.array([[[1.0, 0, 0], [0, 1, 0]]])
        views = grid_views(matrix, 500.0, 500.0, size / 2, size / 2, 600.0, 80.0)
        pasts = FramePasts([-1], np.zeros((1, side, side), np.float32), nothing, nothing)
        frame.begin(np.zeros((size, size, 3), np.uint8), matrix, views, pasts)
        frame.finish()

    def __call__(self, capture: Capture) -> Capture:
        """Depth, surface and mesh of every face.

        :raises InputError: the image, a crop or a pose cannot be used.
        :raises BackendError: CUDA failed.
        """
        if self.frame is None or self._pool is None:
            raise InputError("The device stage is not open; open it before the first capture.")
        people = self._made(capture) if capture.people else []
        return capture.adding(("depth", "surface", "mesh"), [*people, *capture.people[self._faces :]])

    def _made(self, capture: Capture) -> list[Person]:
        """The people who have a place, with all that is made of them."""
        assert self.frame is not None
        assert self._pool is not None
        people, image = capture.people[: self._faces], capture.frame.image
        faces = [person.face for person in people]
        for face in faces:
            check_picture(image, face.crop)
        side = self.frame.side
        matrices = np.stack([image_from_crop(face.crop, self.frame.size) for face in faces])
        seen, pasts = self._pasts(capture.frame, faces)
        try:
            self.frame.begin(image, matrices, _views(faces, side), pasts, capture.frame.device)
            sides = [texture_size(face.crop) for face in faces]
            cuts = [(image_from_crop(face.crop, one), one) for face, one in zip(faces, sides, strict=True)]
            assert self.frame.source is not None
            kept = self._pool.keep(self.frame.meshes, self.frame.source, cuts)
            textures = [crop_image(image, face.crop, one) for face, one in zip(faces, sides, strict=True)]
            result = self.frame.finish()
        except BaseException:
            self.frame.abandon()
            raise
        self._remember(capture.frame, faces, seen, result)
        return [
            replace(
                person,
                depth=_depth(result, i),
                surface=Surface(result.surface[i], result.alpha[i]),
                mesh=self._mesh(result, i, texture, device),
            )
            for i, (person, texture, device) in enumerate(zip(people, textures, kept, strict=True))
        ]

    def close(self) -> None:
        """Free the GPU's memory and the network."""
        frame, network = self.frame, self._network
        self.frame = self._pool = self._network = None
        try:
            if frame is not None:
                frame.abandon()
        finally:
            if network is not None:
                network.close()

    def _pasts(self, frame: Frame, faces: Sequence[Face]) -> tuple[list[Seen], FramePasts]:
        """What is seen of each face, and how much of its past it may keep."""
        assert self.frame is not None
        size, side, seen = self.frame.size, self.frame.side, []
        still, rates = np.zeros((len(faces), side, side), np.float32), np.zeros((len(faces), 3), np.float32)
        for i, face in enumerate(faces):
            # The network's own crop is cut on the device; the host's chain looks at one of that size, too.
            grey = grey_picture(crop_image(frame.image, face.crop, size))
            past = self._memory.recall(face.track_id, self.name, _Memory).past
            step = math.inf if past is None else frame.captured - past.seconds
            if past is None or not self._smooth or not 0 < step <= MAX_GAP:
                seen.append(Seen(grey))
                continue
            picture, now = how_still(past.seen, grey, past.head, step)
            still[i], rates[i] = cv2.resize(picture, (side, side)), smoothing_rates(step)
            seen.append(now)
        planes = [sight_plane(line_of_sight(face.crop, face.intrinsics), side) for face in faces]
        return seen, FramePasts([face.track_id for face in faces], still, rates, np.stack(planes))

    def _remember(
        self, frame: Frame, faces: Sequence[Face], seen: Sequence[Seen], result: FrameResult
    ) -> None:
        for face, now, mask in zip(faces, seen, result.mask, strict=True):
            remembered = self._memory.recall(face.track_id, self.name, _Memory)
            remembered.past = _Past(frame.captured, now, mask)

    def _mesh(self, result: FrameResult, number: int, texture: Array, device: DeviceMesh | None) -> Mesh:
        meshes = result.meshes
        count = int(meshes.counts[number])
        return Mesh(
            vertices=meshes.vertices[number],
            normals=meshes.normals[number],
            uv=self._uv,
            triangles=meshes.triangles[number, :count],
            valid=meshes.valid[number],
            texture=texture,
            device=device,
        )


def _views(faces: Sequence[Face], side: int) -> Array:
    """The cameras of the faces' maps."""
    cameras = [face.intrinsics for face in faces]
    distances = [float(face.pose[2, 3]) for face in faces]
    units = [
        mm_per_crop_unit(face.crop, camera, distance)
        for face, camera, distance in zip(faces, cameras, distances, strict=True)
    ]
    fx, fy, cx, cy = np.array([(camera.fx, camera.fy, camera.cx, camera.cy) for camera in cameras]).T
    matrices = [image_from_crop(face.crop, side) for face in faces]
    return grid_views(matrices, fx, fy, cx, cy, np.array(distances), np.array(units))


def _depth(result: FrameResult, number: int) -> Depth:
    confidence = None if result.confidence is None else result.confidence[number]
    return Depth(result.depth[number], result.mask[number], confidence)


def _grid_uv(size: int) -> Array:
    """(S * S, 2) float32, each pixel's centre in the crop's texture."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
