"""The pipeline's stage from faces to depth and meshes on one GPU, for a network that runs there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from stream.compute.cuda.current import current_driver
from stream.compute.grid_views import grid_views
from stream.depth.estimator import check_picture
from stream.depth.sight import line_of_sight, sight_plane, sight_tilt
from stream.depth.smoothing import MAX_GAP, TIME_CONSTANT
from stream.depth.stillness import PICTURE_SIDE, Seen, grey_picture, how_still
from stream.device.frame import DeviceFrame, FrameResult
from stream.device.pool import DeviceMesh, MeshPool
from stream.errors import BackendError, InputError
from stream.face.crop import crop_image
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.memory import TrackMemory
from stream.mesh.build import texture_size
from stream.types import Array, Capture, Depth, Face, Frame, Mesh, Person


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
    """Adds the ``depth`` and ``mesh`` of each person, both made on the GPU (a `stream.pipeline.stage.Stage`).

    In place of `stream.depth.stage.DepthStage` and `stream.mesh.stage.MeshStage` where TensorRT (or PyTorch
    on CUDA) runs the network: the frame goes up once and meshes come down, while the host cuts the textures.
    Two things differ from the CPU's chain. Depth is smoothed where the picture is still and a pixel changes
    little, without the test of whole patches for slow drift. And the silhouette is the mask's own: specks and
    ragged rims stay that `stream.mesh.silhouette` and `stream.mesh.edges` would mend on the host.

    :param load: gives the network, on the stage's thread: a `stream.device.frame.DeviceNetwork`.
    :param faces: the most there are in a frame; more stay without depth and mesh.
    :param smooth: average each track's depth over time.
    :param graphs: as `DeviceFrame`.
    :param memory: where each track's past stays while it is followed.
    """

    name = "device"

    def __init__(
        self,
        load: Callable[[], Any],
        faces: int = 1,
        smooth: bool = True,
        graphs: bool = True,
        memory: TrackMemory | None = None,
    ) -> None:
        self._load, self._faces, self._smooth, self._graphs = load, faces, smooth, graphs
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
        size = int(self._network.inputs[0].shape[-1])
        self.frame = DeviceFrame(current_driver(), self._network, size, self._faces, self._graphs)
        self._uv = _grid_uv(size)
        self._try(size)
        self._pool = MeshPool(current_driver(), self.frame.stream, self._faces, size)

    def _try(self, size: int) -> None:
        """A frame of nothing, so that what cannot run is known before the first real one."""
        assert self.frame is not None
        matrix = np.array([[[1.0, 0, 0], [0, 1, 0]]])
        views = grid_views(matrix, 500.0, 500.0, size / 2, size / 2, 600.0, 80.0)
        keep = np.zeros((1, size, size), np.float32)
        self.frame.begin(np.zeros((size, size, 3), np.uint8), matrix, views, keep, [-1])
        self.frame.finish()

    def __call__(self, capture: Capture) -> Capture:
        """Depth and mesh of every face.

        :raises InputError: the image, a crop or a pose cannot be used.
        :raises BackendError: CUDA failed.
        """
        if self.frame is None or self._pool is None:
            raise InputError("The device stage is not open; open it before the first capture.")
        people = self._made(capture) if capture.people else []
        return capture.adding(("depth", "mesh"), [*people, *capture.people[self._faces :]])

    def _made(self, capture: Capture) -> list[Person]:
        """The people who have a place, with their depths and meshes."""
        assert self.frame is not None
        assert self._pool is not None
        people, image = capture.people[: self._faces], capture.frame.image
        faces = [person.face for person in people]
        for face in faces:
            check_picture(image, face.crop)
        size = self.frame.size
        matrices = np.stack([image_from_crop(face.crop, size) for face in faces])
        seen, keep = self._stillness(capture.frame, faces)
        views = _views(faces, matrices, size)
        tracks = [face.track_id for face in faces]
        try:
            self.frame.begin(image, matrices, views, keep, tracks, capture.frame.device)
            sides = [texture_size(face.crop) for face in faces]
            cuts = [(image_from_crop(face.crop, side), side) for face, side in zip(faces, sides, strict=True)]
            assert self.frame.source is not None
            kept = self._pool.keep(self.frame.meshes, self.frame.source, cuts)
            textures = [crop_image(image, face.crop, side) for face, side in zip(faces, sides, strict=True)]
            result = self.frame.finish()
        except BaseException:
            self.frame.abandon()
            raise
        self._remember(capture.frame, faces, seen, result)
        return [
            replace(person, depth=_depth(person.face, result, i), mesh=self._mesh(result, i, texture, device))
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

    def _stillness(self, frame: Frame, faces: Sequence[Face]) -> tuple[list[Seen], Array]:
        """What is seen of each face, and how much of its past each pixel may keep, (N, S, S) float32."""
        assert self.frame is not None
        size = self.frame.size
        keep, seen = np.zeros((len(faces), size, size), np.float32), []
        for i, face in enumerate(faces):
            grey = grey_picture(crop_image(frame.image, face.crop, PICTURE_SIDE))
            past = self._memory.recall(face.track_id, self.name, _Memory).past
            step = math.inf if past is None else frame.captured - past.seconds
            if past is None or not self._smooth or not 0 < step <= MAX_GAP:
                seen.append(Seen(grey))
                continue
            still, now = how_still(past.seen, grey, past.head, step)
            keep[i] = cv2.resize(still, (size, size)) * np.float32(math.exp(-step / TIME_CONSTANT))
            seen.append(now)
        return seen, keep

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


def _views(faces: Sequence[Face], matrices: Array, size: int) -> Array:
    """The cameras of the faces' maps, and the tilt between their line of sight and the camera's axis."""
    cameras = [face.intrinsics for face in faces]
    distances = [float(face.pose[2, 3]) for face in faces]
    return grid_views(
        matrices,
        np.array([camera.fx for camera in cameras]),
        np.array([camera.fy for camera in cameras]),
        np.array([camera.cx for camera in cameras]),
        np.array([camera.cy for camera in cameras]),
        np.array(distances),
        np.array(
            [
                mm_per_crop_unit(face.crop, face.intrinsics, distance)
                for face, distance in zip(faces, distances, strict=True)
            ]
        ),
        np.stack([sight_plane(line_of_sight(face.crop, face.intrinsics), size) for face in faces]),
    )


def _depth(face: Face, result: FrameResult, number: int) -> Depth:
    """What the mesh shows, along the camera's axis."""
    tilt = sight_tilt(line_of_sight(face.crop, face.intrinsics), result.depth.shape[-1])
    return Depth(result.depth[number] - tilt, np.clip(result.mask[number], 0, 1))


def _grid_uv(size: int) -> Array:
    """(S * S, 2) float32, each pixel's centre in the crop's texture."""
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
