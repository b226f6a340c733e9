"""A frame that stays on the GPU: picture up, crops, network, surfaces, meshes, on one stream with one wait.

What changes from frame to frame (the picture, where the crops lie, the cameras, how still the face is) is
written to page-locked memory at fixed addresses, so that the whole frame, copies included, is captured once
into a CUDA graph and then replayed: one launch a frame in place of a dozen. A picture that lies on the device
already is read where it lies: its address is part of what is written there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from stream.compute.crop_normalize import MAX_SIDE, crop_normalize, crop_table, plan_crops
from stream.compute.cuda.arrays import DeviceArray, empty
from stream.compute.cuda.driver import Driver
from stream.compute.cuda.graphs import captured
from stream.compute.cuda.mirrored import Mirrored
from stream.compute.depth_to_mesh_batch import (
    GridMeshBatch,
    depth_to_mesh_batch,
    mesh_buffers,
    strip_rows,
)
from stream.compute.grid_views import COLUMNS, check_views
from stream.compute.nv12 import Decoding, PitchedNv12, layout_of
from stream.device.surfaces import FramePasts, SurfaceMaker
from stream.errors import BackendError, InputError
from stream.inference.engine import TensorSpec
from stream.mesh.build import connect_jump
from stream.types import Array

WARM_UPS = 2
"""Frames of one kind before their graph is captured: libraries compile and allocate in the first ones."""

DOWNLOADED = ("vertices", "normals", "triangles", "valid", "counts")

STEPS = ("upload", "crop", "network", "surface", "mesh", "download")
"""The parts of a frame, in their order on the stream."""

_Kind = tuple[int, Decoding | None]
"""What a graph is good for: so many faces, in a picture on the device of such colours (None: uploaded)."""

log = logging.getLogger(__name__)


class DeviceNetwork(Protocol):
    """A depth network that reads and writes device memory.

    :ivar capturable: whether `run_device` only queues, so that it may be captured into a graph.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    capturable: bool

    def run_device(self, inputs: Mapping[str, Any], stream: Any) -> dict[str, DeviceArray]:
        """``image`` to ``depth``, ``mask`` and perhaps ``confidence`` (N, 1, M, M) float32, queued."""


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What came back, in arrays of the caller's own.

    :ivar meshes: N meshes on the host; of ``triangles`` only the first ``counts``.
    :ivar depth: (N, S, S) float32 crop units along the camera's axis, smoothed.
    :ivar mask: (N, S, S) float32.
    :ivar surface, alpha: (N, S, S) float32 of the surfaces that the meshes show.
    :ivar confidence: (N, S, S) float32, or ``None`` where the network does not say.
    """

    meshes: GridMeshBatch
    depth: Array
    mask: Array
    surface: Array
    alpha: Array
    confidence: Array | None = None


class DeviceFrame:
    """Buffers and graphs for frames of up to ``faces`` faces; not to be used from two threads at once.

    :param driver: the one in use (`stream.compute.cuda.current`).
    :param side: S, side of the surfaces and meshes.
    :param graphs: replay captured graphs where the network allows; without, the steps are timed.
    :ivar size: side of the network's crops.
    :ivar meshes: where the meshes are made on the device, over and over (`stream.device.pool`).
    :ivar source: the picture of the frame that is under way, on the device.
    :ivar replayed: frames that were one graph launch.
    :ivar milliseconds: device time of each of `STEPS` of the last frame; empty where a graph was replayed.
    """

    def __init__(
        self, driver: Driver, network: DeviceNetwork, side: int, faces: int = 1, graphs: bool = True
    ) -> None:
        self._driver, self._network, self.side, self._faces = driver, network, side, faces
        size = self.size = network.inputs[0].shape[-1] or 0
        self._graphs_wanted = graphs and network.capturable
        self.stream = driver.stream()
        self._table = crop_table(faces)
        self._crops = empty(driver, (faces, 3, size, size), network.inputs[0].dtype)
        self._views = Mirrored(driver, (faces, COLUMNS), "float64")
        sure = any(spec.name == "confidence" for spec in network.outputs)
        self._maker = SurfaceMaker(driver, faces, side, sure)
        self.meshes = mesh_buffers(faces, side, device=True, uv=False, draw=False)
        self._picture: Mirrored | None = None
        self.source: DeviceArray | PitchedNv12 | None = None
        self._host = self._host_buffers()
        self._seen: dict[_Kind, int] = {}
        self._graphs: dict[_Kind, Any] = {}
        self._events = [driver.event() for _ in range(len(STEPS) + 1)]
        self._pending: _Kind | None = None
        self.replayed = 0
        self.milliseconds: dict[str, float] = {}

    def begin(
        self,
        image: Array,
        image_from_crop: Array,
        views: Array,
        pasts: FramePasts,
        device: PitchedNv12 | None = None,
    ) -> None:
        """Queue a frame; the host is free until `finish`.

        :param image: (H, W, 3) uint8 RGB.
        :param image_from_crop: (N, 2, 3) for crops of ``size`` pixels.
        :param views: (N, 12) float64 of `grid_views`, of the surfaces.
        :param pasts: who the faces are, and how still.
        :param device: the same picture on the device: where it is of this frame's driver nothing is uploaded,
            and it is kept until `finish`.
        :raises InputError: there are too many faces, a shape or value does not fit, or a frame is pending.
        :raises BackendError: CUDA refuses.
        """
        count = len(pasts.tracks)
        self._check(count, views)
        source = self.source = self._source_of(image, device)
        crops = np.zeros(count, int)
        plan_crops([source], crops, image_from_crop, self.size, layout_of(source), self._table.host)
        self._views.host[:count] = views
        self._maker.prepare(pasts, self.stream)
        kind = count, source.decoding if isinstance(source, PitchedNv12) else None
        graph = self._graphs.get(kind)
        if graph is None:
            self._run(image_from_crop, kind)
        else:
            self._driver.replay(graph, self.stream)
            self.replayed += 1
        self._pending = kind

    def finish(self) -> FrameResult:
        """Wait for the frame that was begun.

        :raises InputError: none was.
        :raises BackendError: CUDA failed meanwhile.
        """
        kind, self._pending = self._pending, None
        if kind is None:
            raise InputError("No frame was begun; call begin first.")
        self._driver.synchronize(self.stream)
        self.source, count = None, kind[0]
        if kind not in self._graphs:
            pairs = zip(STEPS, self._events, self._events[1:], strict=False)
            self.milliseconds = {name: self._driver.milliseconds(start, end) for name, start, end in pairs}
        else:
            self.milliseconds = {}
        arrays = {name: self._host[name][:count].copy() for name in self._host}
        meshes = GridMeshBatch(**{name: arrays.pop(name) for name in DOWNLOADED})
        return FrameResult(meshes, **arrays)

    def abandon(self) -> None:
        """Wait for the frame that is under way, if any, and forget it.

        :raises BackendError: CUDA failed meanwhile.
        """
        self._pending = self.source = None
        self._driver.synchronize(self.stream)

    def _run(self, image_from_crop: Array, kind: _Kind) -> None:
        """Queue the steps, and keep them as a graph once the same kind of frame came often enough."""
        self._seen[kind] = self._seen.get(kind, 0) + 1

        def queue(mark: Callable[[int], None]) -> None:
            self._queue(image_from_crop, kind, mark)

        if not self._graphs_wanted or self._seen[kind] <= WARM_UPS:
            queue(lambda step: self._driver.record(self._events[step], self.stream))
            return
        try:
            graph = captured(self._driver, self.stream, lambda: queue(lambda step: None))
        except BackendError as error:
            log.warning(
                "The frame cannot be captured into a CUDA graph; its steps are launched singly. %s", error
            )
            self._graphs_wanted = False
            queue(lambda step: self._driver.record(self._events[step], self.stream))
            return
        self._graphs[kind] = graph
        self._driver.replay(graph, self.stream)
        self.replayed += 1

    def _queue(self, image_from_crop: Array, kind: _Kind, mark: Callable[[int], None]) -> None:
        """The steps; ``mark(i)`` is called before step i and after the last."""
        driver, stream, size, (count, decoding) = self._driver, self.stream, self.size, kind
        source = self.source
        assert source is not None
        mark(0)
        if decoding is None and self._picture is not None:
            self._picture.upload(stream)
        mark(1)
        crops = crop_normalize(
            [source],
            np.zeros(count, int),
            image_from_crop,
            size,
            layout_of(source),
            dtype=self._crops.dtype.name,
            out=self._crops[:count],
            table=self._table,
            stream=stream,
        )
        mark(2)
        outputs = self._network.run_device({self._network.inputs[0].name: crops}, stream)
        mark(3)
        surfaces = self._maker.queue(outputs, count, stream)
        mark(4)
        self._views.upload(stream, count)
        depth_to_mesh_batch(
            surfaces.depth,
            surfaces.alpha,
            self._views.device[:count],
            depth_jump=connect_jump(self.side),
            out=self._meshes_of(count),
            stream=stream,
        )
        mark(5)
        for name, made in self._results().items():
            driver.download(self._host[name][:count], made.pointer, stream)
        mark(6)

    def _check(self, count: int, views: Array) -> None:
        if self._pending:
            raise InputError("The last frame was not finished; call finish first.")
        if not 1 <= count <= self._faces:
            raise InputError(f"{count} faces do not fit a frame made for 1 to {self._faces}.")
        if views.shape != (count, COLUMNS):
            raise InputError(f"The views must be ({count}, {COLUMNS}), not {views.shape}.")
        check_views(views, self.side)

    def _source_of(self, image: Array, device: PitchedNv12 | None) -> DeviceArray | PitchedNv12:
        """What the crops are cut from: the picture on this device, or the place the image is uploaded to."""
        if device is None or device.driver is not self._driver:
            picture = self._picture_of(image)
            np.copyto(picture.host, image)
            return picture.device
        device.check("picture on the device", MAX_SIDE)
        if (device.height, device.width) != image.shape[:2]:
            raise InputError(f"The picture on the device must have the image's size, {image.shape[1::-1]}.")
        return device

    def _picture_of(self, image: Array) -> Mirrored:
        """Room for pictures of this size; a new one needs new graphs, for they hold the old addresses."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(f"The image must be uint8 RGB (H, W, 3), not {image.dtype.name} {image.shape}.")
        if self._picture is None or self._picture.host.shape != image.shape:
            self._driver.synchronize(self.stream)
            for counted in (self._graphs, self._seen):
                for kind in [kind for kind in counted if kind[1] is None]:
                    del counted[kind]
            self._picture = Mirrored(self._driver, image.shape, "uint8")
        return self._picture

    def _meshes_of(self, count: int) -> GridMeshBatch:
        """The buffers of the first ``count`` meshes."""
        _, strips = strip_rows(self.side)
        ends = {"scratch": 1 + count * strips}
        parts: dict[str, Any] = {
            field.name: getattr(self.meshes, field.name) for field in fields(self.meshes)
        }
        return GridMeshBatch(
            **{
                name: None if array is None else array[: ends.get(name, count)]
                for name, array in parts.items()
            }
        )

    def _results(self) -> dict[str, DeviceArray]:
        """What is downloaded, by name."""
        return {name: getattr(self.meshes, name) for name in DOWNLOADED} | self._maker.results()

    def _host_buffers(self) -> dict[str, Array]:
        """Page-locked memory for what is downloaded."""
        found = self._results()
        return {name: self._driver.pinned(array.shape, array.dtype.name) for name, array in found.items()}
