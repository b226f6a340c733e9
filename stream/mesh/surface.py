"""A mesh as files want it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.errors import OutputError
from stream.geometry import camera_to_gltf, camera_to_gltf_direction
from stream.types import Array, Mesh


@dataclass(frozen=True, slots=True)
class UsedSurface:
    """A mesh as files want it: only used vertices, glTF axes.

    :ivar positions: (N, 3) float32 metres.
    :ivar normals: (N, 3) float32 unit vectors.
    :ivar uv: (N, 2) float32, origin at the texture's top-left corner.
    :ivar triangles: (M, 3) uint32, counter-clockwise from outside.
    """

    positions: Array
    normals: Array
    uv: Array
    triangles: Array


def used_surface(mesh: Mesh) -> UsedSurface:
    """Drop the vertices no triangle uses and turn the rest to glTF's axes.

    :raises OutputError: there are no triangles, or they name missing vertices, or values are not finite.
    """
    if len(mesh.triangles) == 0:
        raise OutputError("The mesh is empty, so there is nothing to write; is a face in the picture?")
    if mesh.triangles.min() < 0 or mesh.triangles.max() >= len(mesh.vertices):
        raise OutputError("The mesh's triangles name vertices that it does not have, so it was not written.")
    used, triangles = np.unique(mesh.triangles, return_inverse=True)
    surface = UsedSurface(
        positions=np.ascontiguousarray(camera_to_gltf(mesh.vertices[used]), np.float32),
        normals=np.ascontiguousarray(camera_to_gltf_direction(mesh.normals[used]), np.float32),
        uv=np.ascontiguousarray(mesh.uv[used], np.float32),
        triangles=triangles.reshape(-1, 3).astype(np.uint32),
    )
    if not all(np.isfinite(a).all() for a in (surface.positions, surface.normals, surface.uv)):
        raise OutputError("The mesh holds values that are not finite, so it was not written.")
    return surface
