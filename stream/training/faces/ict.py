"""The ICT-FaceKit head: identity and expression to vertices, in the head frame (see `stream.types`).

Source: Li et al., "Learning Formation of Physically-Based Face Attributes", CVPR 2020 (ICT-FaceKit, MIT).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from stream.errors import ModelError
from stream.types import Array

IDENTITY_MODES = 50
"""Principal components of identity in use, of 100: the rest move the face by 0.15 mm or less on average."""

EXPRESSIONS = 57

SKIN_END = 9409
HEAD_END = 11248
MOUTH_SOCKET_END = 13294
EYE_SOCKET_END = 14062
GUMS_END = 17039
TEETH_END = 21451
EYES_END = 24591
"""First vertex after each part; lashes, lacrimal fluid and occlusion planes behind are left out."""

PART_ENDS = (SKIN_END, HEAD_END, MOUTH_SOCKET_END, EYE_SOCKET_END, GUMS_END, TEETH_END, EYES_END)
SKIN, HEAD, MOUTH_SOCKET, EYE_SOCKET, GUMS, TEETH, EYES = range(7)

NARROW_FACE_END = 6706
"""Face skin without ears, throat and back of the cheeks."""

EYE_CORNERS_AND_LIDS = ((36, 39, 37, 38, 40, 41), (42, 45, 43, 44, 46, 47))
"""Multi-PIE landmarks round the right and the left eye."""

MULTI_PIE_68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443,
    268, 493, 1914, 2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147,
    4269, 3360, 1507, 1542, 1537, 1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081,
    0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
"""Vertex of each of the 68 Multi-PIE landmarks, as published with ICT-FaceKit."""


@dataclass(frozen=True, slots=True)
class HeadModel:
    """A linear head model: ``vertices = mean + coefficients @ basis``.

    :ivar mean: (N, 3) float32 mm, head frame (origin midway between the eye centres, OpenCV axes).
    :ivar basis: (K, N * 3) float32 mm: `IDENTITY_MODES` identity modes (per standard deviation), then
        `EXPRESSIONS` expression deltas (at 1).
    :ivar expressions: names of the expressions, ARKit's with _L and _R.
    :ivar triangles: (M, 3) int32.
    :ivar part: (N,) uint8, which part a vertex belongs to (`SKIN` ... `EYES`).
    """

    mean: Array
    basis: Array
    expressions: tuple[str, ...]
    triangles: Array
    part: Array

    def vertices(self, coefficients: Array) -> Array:
        """Coefficients (n, K) float, identity then expression, to vertices (n, N, 3) float32 mm."""
        moved = np.ascontiguousarray(coefficients, np.float32) @ self.basis
        return moved.reshape(len(coefficients), -1, 3) + self.mean


def load_head_model(path: Path) -> HeadModel:
    """Read ``ict_facekit.npz`` (neutral, identity, expression, expression_names, quads; centimetres, y up).

    :raises ModelError: the file is missing or is not that.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            neutral = data["neutral"][:EYES_END].astype(np.float32)
            identity = data["identity"][:IDENTITY_MODES, :EYES_END].astype(np.float32)
            expression = data["expression"][:, :EYES_END].astype(np.float32)
            names = tuple(str(name) for name in data["expression_names"])
            quads = data["quads"].astype(np.int32)
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is not an ICT-FaceKit archive: {error}.") from error
    if neutral.shape != (EYES_END, 3) or len(identity) != IDENTITY_MODES or len(expression) != EXPRESSIONS:
        raise ModelError(f"{path} holds arrays of unexpected sizes; rebuild it from ICT-FaceKit Light.")
    to_head = np.array([10.0, -10.0, -10.0], np.float32)
    neutral, identity, expression = neutral * to_head, identity * to_head, expression * to_head
    lids = np.array([[MULTI_PIE_68[i] for i in eye] for eye in EYE_CORNERS_AND_LIDS])
    origin = neutral[lids].mean(axis=(0, 1))
    quads = quads[(quads < EYES_END).all(axis=1)]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    basis = np.concatenate([identity, expression]).reshape(IDENTITY_MODES + EXPRESSIONS, -1)
    part = np.searchsorted(np.array(PART_ENDS), np.arange(EYES_END), side="right").astype(np.uint8)
    return HeadModel(neutral - origin, basis, names, np.ascontiguousarray(triangles), part)


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
