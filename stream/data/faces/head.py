"""What every head model of the engine is: vertices linear in identity and expression, in named parts."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from stream.types import Array

SKIN, HEAD, MOUTH_SOCKET, EYE_SOCKET, GUMS, TEETH, EYES = range(7)
"""Parts of a head, in the order of its vertices: face skin, the rest of head and neck, the socket of the
mouth, those of the eyes, gums with the tongue, teeth, eyeballs."""


@dataclass(frozen=True, slots=True)
class HeadModel:
    """A linear head model: ``vertices = mean + coefficients @ basis``.

    :ivar mean: (N, 3) float32 mm, head frame (origin midway between the eye centres, OpenCV axes).
    :ivar basis: (K, N * 3) float32 mm: ``identities`` identity modes (per standard deviation), then the
        expression deltas (at 1).
    :ivar identities: how many of the rows of ``basis`` are identity.
    :ivar expressions: names of the expressions, ARKit's with _L and _R (`stream.expression.arkit`).
    :ivar triangles: (M, 3) int32, wound so that `vertex_normals` point outwards.
    :ivar part: (N,) uint8, which part a vertex belongs to (`SKIN` ... `EYES`), never falling.
    :ivar face: (N,) bool, face skin without ears, throat and back of the cheeks.
    :ivar topology: `stream.data.shards.ICT` or `ANNY`.
    """

    mean: Array
    basis: Array
    identities: int
    expressions: tuple[str, ...]
    triangles: Array
    part: Array
    face: Array
    topology: int

    @property
    def outer_end(self) -> int:
        """First vertex after skin and head: those before it are the outside."""
        return int(np.searchsorted(self.part, HEAD, side="right"))

    def vertices(self, coefficients: Array) -> Array:
        """Coefficients (n, K) float, identity then expression, to vertices (n, N, 3) float32 mm."""
        moved = np.ascontiguousarray(coefficients, np.float32) @ self.basis
        return moved.reshape(len(coefficients), -1, 3) + self.mean

    def triangles_of(self, chosen: Array) -> Array:
        """(m, 3) int32 triangles all of whose vertices are chosen; ``chosen`` (N,) bool."""
        return np.ascontiguousarray(self.triangles[chosen[self.triangles].all(axis=1)])


@numba.njit(cache=True)
def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Area-weighted unit normals (N, 3) float32 of a mesh: (N, 3) float32 vertices, (M, 3) int32 triangles.

    They follow the triangles' winding by the right-hand rule: x right, y down, z forward makes ICT's
    outward-wound triangles (turned by a rotation from y up) keep pointing outwards.
    """
    normals = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t]
        ax, ay, az = vertices[j] - vertices[i]
        bx, by, bz = vertices[k] - vertices[i]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(normals.shape[0]):
        x, y, z = normals[v]
        length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
        normals[v, 0], normals[v, 1], normals[v, 2] = x / length, y / length, z / length
    return normals
