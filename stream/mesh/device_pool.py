"""Meshes in the GPU's memory that outlive their frame, for renderers in other threads."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass

from stream.compute.cuda.arrays import DeviceArray, empty
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.depth_meshes import GridMeshes

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
    :ivar driver: of the memory.
    """

    vertices: DeviceArray
    normals: DeviceArray
    triangles: DeviceArray
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
        self._free = deque(
            {
                "vertices": empty(driver, (faces, size * size, 3), "float32"),
                "normals": empty(driver, (faces, size * size, 3), "float32"),
                "triangles": empty(driver, (faces, triangles, 3), "int32"),
            }
            for _ in range(SLOTS)
        )
        self.missed = 0

    def keep(self, meshes: GridMeshes, count: int) -> list[DeviceMesh | None]:
        """Queue a copy of a frame's first ``count`` meshes, to be read once their stream was waited for.

        A copy, since the frame's own buffers are written again by its graph, which cannot change addresses;
        it costs its bytes over the memory's bandwidth, twice.

        :returns: one for each mesh, ``None`` where no slot is free.
        """
        try:
            slot = self._free.popleft()
        except IndexError:
            self.missed += 1
            return [None] * count
        lease = _Lease()
        weakref.finalize(lease, self._free.append, slot).atexit = False
        for name, target in slot.items():
            origin, part = getattr(meshes, name), target[:count]
            self._driver.copy(part.pointer, origin.pointer, part.nbytes, self._stream)
        return [
            DeviceMesh(**{name: array[n] for name, array in slot.items()}, driver=self._driver, lease=lease)
            for n in range(count)
        ]
