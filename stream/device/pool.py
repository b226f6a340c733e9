"""Meshes in the GPU's memory that outlive their frame, for renderers in other threads."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from stream.compute.crop_normalize import crop_normalize
from stream.compute.cuda.arrays import DeviceArray, empty
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.depth_to_mesh_batch import GridMeshBatch
from stream.compute.nv12 import PitchedNv12, layout_of
from stream.types import Array

_Slot = dict[str, DeviceArray]

SLOTS = 6
"""Frames whose meshes may be in use at once: one being made, one in each slot of the pipeline, one drawn."""


class _Lease:
    """Lives as long as a mesh of its slot does."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class DeviceMesh:
    """One mesh in device memory; its memory is used again once nobody holds it.

    :ivar vertices, normals: (S * S, 3) float32.
    :ivar triangles: (2 (S-1)^2, 3) int32, of which as many count as the mesh on the host has.
    :ivar texture: (T, T, 3) uint8 RGB.
    :ivar driver: of the memory.
    """

    vertices: DeviceArray
    normals: DeviceArray
    triangles: DeviceArray
    texture: DeviceArray
    driver: Driver
    lease: object


class MeshPool:
    """Slots for the meshes of `SLOTS` frames. Taking is for one thread, giving back happens in any.

    :param stream: on which meshes are made and copied here.
    :param faces: meshes in a frame at most; ``size`` side of their grids.
    :ivar missed: frames that found no slot free, because somebody holds old captures.
    """

    def __init__(self, driver: Driver, stream: Stream, faces: int, size: int) -> None:
        self._driver, self._stream = driver, stream
        triangles = 2 * (size - 1) ** 2
        shapes = {
            "vertices": ((size * size, 3), "float32"),
            "normals": ((size * size, 3), "float32"),
            "triangles": ((triangles, 3), "int32"),
        }
        self._free: deque[_Slot] = deque(
            {name: empty(driver, (faces, *shape), dtype) for name, (shape, dtype) in shapes.items()}
            for _ in range(SLOTS)
        )
        self.missed = 0

    def keep(
        self, meshes: GridMeshBatch, picture: DeviceArray | PitchedNv12, crops: Sequence[tuple[Array, int]]
    ) -> list[DeviceMesh | None]:
        """Queue a copy of a frame's meshes, and the cutting of their textures, on the stream.

        A copy, since the frame's own buffers are written again by its graph, which cannot change addresses;
        it costs its bytes over the memory's bandwidth, twice.

        :param picture: the frame's.
        :param crops: of each mesh (2, 3) image_from_crop and the side T of its texture.
        :returns: one for each mesh, to be read once the stream was waited for; ``None`` where no slot is
            free.
        :raises BackendError: the device's memory is full.
        """
        try:
            slot = self._free.popleft()
        except IndexError:
            self.missed += 1
            return [None] * len(crops)
        lease = _Lease()
        weakref.finalize(lease, self._free.append, slot).atexit = False
        for name in ("vertices", "normals", "triangles"):
            origin, part = getattr(meshes, name), slot[name][: len(crops)]
            self._driver.copy(part.pointer, origin.pointer, part.nbytes, self._stream)
        return [
            DeviceMesh(
                slot["vertices"][n],
                slot["normals"][n],
                slot["triangles"][n],
                self._texture(slot, n, picture, *crop),
                self._driver,
                lease,
            )
            for n, crop in enumerate(crops)
        ]

    def _texture(
        self, slot: _Slot, number: int, picture: DeviceArray | PitchedNv12, matrix: Array, side: int
    ) -> DeviceArray:
        """The picture's crop as a texture, in memory that the slot keeps while the side stays."""
        name = f"texture {number}"
        if name not in slot or slot[name].shape[1] != side:
            slot[name] = empty(self._driver, (1, side, side, 3), "uint8")
        texture = slot[name]
        crop_normalize(
            [picture], [0], matrix[None], side, layout_of(picture), "uint8", texture, stream=self._stream
        )
        return texture[0]
