"""Write stream/remote/web/public/avatar.glb: ICT-FaceKit's mean head, moved by ARKit's coefficients.

Skin with the insides of mouth and eye sockets, teeth with gums and tongue, and eyes, coloured by vertex;
morph targets by ARKit's names (`extras.targetNames`), all but tongueOut, which ICT-FaceKit lacks. Metres,
y up, the face towards +z, the origin midway between the eyes, as the protocol's head pose wants it.

Usage: python tools/make_avatar.py --shared ../shared     (needs: pip install meshoptimizer)
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from meshoptimizer import simplifier

from stream.data.faces.appearance import head_surface
from stream.data.faces.beard import brow_weight, lash_weight, regions_of
from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.head import EYE_SOCKET, EYES, GUMS, MOUTH_SOCKET, TEETH, HeadModel, vertex_normals
from stream.data.faces.ict import load_head_model
from stream.data.faces.render import Renderer
from stream.data.faces.sampling import turn
from stream.data.faces.skin import painted_skin
from stream.expression.arkit import ARKIT_NAMES, arkit_name
from stream.expression.gaze import FULL_PITCH, FULL_YAW
from stream.face.lips import LIPS_INNER, LIPS_OUTER
from stream.files import atomic_path
from stream.mesh.glb_writer import GlbWriter
from stream.types import Array

AVATAR = Path(__file__).parents[1] / "stream" / "remote" / "web" / "public" / "avatar.glb"

STEP_MM = 0.01
"""Of the stored positions; 16 bits then reach 327 mm."""

STILL_MM = 0.2
"""Vertices that a shape moves less are not in its target."""

TRIANGLES = {"skin": 14_000, "mouth": 4_000, "eyes": 3_000}

GUIDES = (
    "jawOpen",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthPucker",
    "mouthClose",
)
"""Shapes whose movements decide, beside form and colour, where triangles are needed."""

PAINTINGS = 12
"""The skin is the mean of so many random ones: a face without blemishes."""

SKIN_TONE, HAIR_TONE = np.array([0.80, 0.62, 0.53]), np.array([0.20, 0.15, 0.12])
LIP_TONE = np.array([0.68, 0.42, 0.40])
GUM_TONE, TOOTH_TONE, SOCKET_TONE = (
    np.array(c) for c in ([0.62, 0.32, 0.31], [0.88, 0.85, 0.78], [0.42, 0.16, 0.15])
)
WHITE_TONE, IRIS_TONE, RIM_TONE, PUPIL_TONE = (
    np.array(c) for c in ([0.90, 0.88, 0.86], [0.30, 0.40, 0.42], [0.10, 0.13, 0.15], [0.01, 0.01, 0.01])
)
"""Display colours."""

IRIS_ANGLE, PUPIL_ANGLE = 0.46, 0.17
"""Half the angle that iris and pupil span from the eyeball's centre, radians."""

MATERIALS = {"skin": 0.55, "mouth": 0.30, "eyes": 0.12}
"""Roughness."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the head, head frame, mm.

    :ivar vertices, normals: (N, 3); ``colours`` (N, 3) display colours; ``triangles`` (M, 3).
    :ivar moves, turns: by ARKit's name, (N, 3) what the shape adds to places and normals.
    """

    vertices: Array
    normals: Array
    colours: Array
    triangles: Array
    moves: Mapping[str, Array]
    turns: Mapping[str, Array]


def arkit_moves(model: HeadModel) -> dict[str, Array]:
    """(N, 3) mm that each of ARKit's expressions moves the head; eyeballs turn with the eyeLook ones."""
    shapes = model.basis[model.identities :].reshape(len(model.expressions), -1, 3)
    moves: dict[str, Array] = {}
    for name, shape in zip(model.expressions, shapes, strict=True):
        if (known := arkit_name(name)) in ARKIT_NAMES:
            moves[known] = moves.get(known, 0) + shape
    eyes = np.flatnonzero(model.part == EYES)
    surface = head_surface(model)
    for side, sign, inwards in (("Right", -1, -1.0), ("Left", 1, 1.0)):
        one = eyes[surface.eye_side == sign]
        arms = model.mean[one] - surface.eye_centres[int(sign > 0)]
        for way, angles in (
            ("In", (inwards * FULL_YAW, 0.0)),
            ("Out", (-inwards * FULL_YAW, 0.0)),
            ("Down", (0.0, FULL_PITCH)),
            ("Up", (0.0, -FULL_PITCH)),
        ):
            moves[f"eyeLook{way}{side}"][one] = arms @ turn(*angles).T - arms
    return moves


def head_colours(model: HeadModel, landmarks: Array) -> Array:
    """(N, 3) display colours: skin with lips, brows and cropped hair, darker where little light comes."""
    surface, regions = head_surface(model), regions_of(model, landmarks)
    end = model.outer_end
    colours = np.tile(SOCKET_TONE, (len(model.mean), 1))
    # The painter's lips are dabs about a ring of points; here they get a border.
    without_lips = landmarks.copy()
    without_lips[list(LIPS_OUTER + LIPS_INNER)] = 1e4
    painted = []
    for random in map(np.random.default_rng, range(PAINTINGS)):
        brows = np.maximum(brow_weight(random, regions), lash_weight(random, regions))[:end]
        painted.append(painted_skin(random, model.mean[:end], without_lips, SKIN_TONE, brows))
    lips = 0.8 * lip_weight(model.mean[:end], landmarks)[:, None]
    skin = np.mean(painted, axis=0) * (1 - lips) + LIP_TONE * lips
    hair = 0.85 * surface.hair_tint[:end, None]
    colours[:end] = skin * (1 - hair) + HAIR_TONE * hair
    colours[model.part == EYE_SOCKET] = SKIN_TONE * 0.7
    colours[model.part == GUMS], colours[model.part == TEETH] = GUM_TONE, TOOTH_TONE
    colours[model.part == EYES] = _eye_colours(surface.eye_direction)
    open_sky = Renderer(64).openness(model.mean, model.triangles)
    open_sky[model.part == EYES] = 1
    inside = (model.part == MOUTH_SOCKET) | (model.part == GUMS) | (model.part == TEETH)
    shade = np.where(inside, 1 - surface.depth_in_mouth, 0.55 + 0.45 * open_sky)
    return np.clip(colours * shade[:, None], 0, 1)


def lip_weight(points: Array, landmarks: Array) -> Array:
    """(n,) 0..1: how far skin points (n, 3) mm are inside the lips' outer border, seen from the front."""
    border = np.ascontiguousarray(landmarks[list(LIPS_OUTER), :2], np.float32)
    inside = [cv2.pointPolygonTest(border, (float(x), float(y)), True) for x, y, _ in points]
    front = points[:, 2] < landmarks[list(LIPS_OUTER), 2].max() + 3.0
    return np.where(front, np.clip(np.array(inside) / 1.5 + 0.5, 0, 1), 0)


def _eye_colours(directions: Array) -> Array:
    """(E, 3) colours of the eyeballs; ``directions`` (E, 3) from their centres, the pupils at -z."""
    angle = np.arccos(np.clip(-directions[:, 2], -1, 1))
    colours = np.tile(WHITE_TONE, (len(angle), 1))
    colours[angle < IRIS_ANGLE * 1.06] = RIM_TONE
    ring = np.clip((angle - PUPIL_ANGLE) / (IRIS_ANGLE - PUPIL_ANGLE), 0, 1)[:, None]
    iris = IRIS_TONE * (1.15 - 0.5 * ring)
    colours = np.where(angle[:, None] < IRIS_ANGLE * 0.92, iris, colours)
    colours[angle < PUPIL_ANGLE] = PUPIL_TONE
    return colours


def simplified(vertices: Array, attributes: Array, triangles: Array, target: int) -> Array:
    """(m, 3) uint32: about ``target`` triangles between some of the same vertices (N, 3).

    :param attributes: (N, A) float32, A <= 32, whose course over the surface is to stay, too.
    """
    simplify = simplifier.lib.meshopt_simplifyWithAttributes
    # The binding (0.2.30a0) does not say what the function takes, and then ctypes refuses its float.
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    simplify.argtypes = [pointer, pointer, size, pointer, size, size, pointer, size, pointer, size, pointer,
                         size, ctypes.c_float, ctypes.c_uint, pointer]  # fmt: skip
    simplify.restype = size
    kept = np.zeros(triangles.size, np.uint32)
    given = np.ascontiguousarray(triangles, np.uint32)
    places = np.ascontiguousarray(vertices, np.float32)
    weights = np.full(attributes.shape[1], 0.5, np.float32)
    count = simplify(
        *(kept.ctypes.data, given.ctypes.data, given.size, places.ctypes.data, len(places), 12),
        *(attributes.ctypes.data, attributes.strides[0], weights.ctypes.data, len(weights), None),
        *(3 * target, 1.0, 0, None),
    )
    return kept[:count].reshape(-1, 3)


def cut(model: HeadModel, moves: Mapping[str, Array], colours: Array, chosen: Array, target: int) -> Part:
    """The chosen vertices (N,) bool as a part of about ``target`` triangles, with the whole's normals."""
    normals = vertex_normals(model.mean, model.triangles)
    triangles = model.triangles_of(chosen)
    guides = [moves[name] / 20.0 for name in GUIDES]
    attributes = np.ascontiguousarray(np.concatenate([normals * 0.5, colours, *guides], axis=1), np.float32)
    kept = simplified(model.mean, attributes, triangles, target)
    used, triangles = np.unique(kept, return_inverse=True)
    own = {name: m[used] for name, m in moves.items() if np.linalg.norm(m[used], axis=1).max() > STILL_MM}
    turns = {}
    for name in own:
        turns[name] = vertex_normals(model.mean + moves[name], model.triangles)[used] - normals[used]
    return Part(
        model.mean[used],
        normals[used],
        colours[used],
        triangles.reshape(-1, 3).astype(np.uint32),
        own,
        turns,
    )


def add_part(writer: GlbWriter, name: str, part: Part) -> dict[str, Any]:
    """Write one part's numbers; returns its mesh."""
    to_gltf = np.array([1, -1, -1])
    linear = np.where(part.colours < 0.04045, part.colours / 12.92, ((part.colours + 0.055) / 1.055) ** 2.4)
    rgba = np.column_stack([np.rint(linear * 255), np.full(len(linear), 255)]).astype("u1")
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": writer.attribute(_steps(part.vertices * to_gltf), bounds=True),
            "NORMAL": writer.attribute(_units(part.normals * to_gltf), normalized=True),
            "COLOR_0": writer.attribute(rgba, normalized=True),
        },
        "indices": writer.indices(part.triangles),
        "material": list(MATERIALS).index(name),
        "targets": [],
    }
    names = [known for known in ARKIT_NAMES if known in part.moves]
    for known in names:
        moves, turns = part.moves[known] * to_gltf, part.turns[known] * to_gltf
        chosen = np.flatnonzero(np.linalg.norm(moves, axis=1) > STILL_MM)
        places = writer.places(chosen)
        primitive["targets"].append(
            {
                "POSITION": writer.sparse(_steps(_only(moves, chosen)), places, chosen),
                "NORMAL": writer.sparse(_units(_only(turns, chosen)), places, chosen, normalized=True),
            }
        )
    return {
        "name": name,
        "primitives": [primitive],
        "weights": [0.0] * len(names),
        "extras": {"targetNames": names},
    }


def _only(values: Array, chosen: Array) -> Array:
    kept = np.zeros_like(values)
    kept[chosen] = values[chosen]
    return kept


def _steps(millimetres: Array) -> Array:
    return np.rint(millimetres / STEP_MM).astype("<i2")


def _units(vectors: Array) -> Array:
    """Directions, or differences of directions, as bytes; differences beyond 1 on an axis are cut there."""
    return np.rint(np.clip(vectors, -1, 1) * 127).astype("i1")


def avatar_glb(model: HeadModel, landmarks: Array) -> bytes:
    """The file; ``landmarks`` (478, 3) mm on the model's mean head."""
    moves, colours = arkit_moves(model), head_colours(model, landmarks)
    mouth = (model.part == GUMS) | (model.part == TEETH)
    eyes = model.part == EYES
    writer = GlbWriter()
    meshes = [
        add_part(writer, name, cut(model, moves, colours, chosen, TRIANGLES[name]))
        for name, chosen in (("skin", ~(mouth | eyes)), ("mouth", mouth), ("eyes", eyes))
    ]
    scale = [STEP_MM / 1000] * 3
    writer.document |= {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "avatar", "children": [1, 2, 3]},
            *({"name": mesh["name"], "mesh": i, "scale": scale} for i, mesh in enumerate(meshes)),
        ],
        "meshes": meshes,
        "materials": [
            {"name": name, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": roughness}}
            for name, roughness in MATERIALS.items()
        ],
    }
    writer.document["asset"]["copyright"] = "Derived from ICT-FaceKit, (c) 2020 USC ICT, MIT License"
    return writer.encode()


def main() -> None:
    """Make the file and tell what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--out", type=Path, default=AVATAR)
    given = parser.parse_args()
    model = load_head_model(given.shared / "data" / "ict_facekit.npz")
    data = avatar_glb(model, stored_correspondence(model).place(model.mean))
    with atomic_path(given.out) as temporary:
        temporary.write_bytes(data)
    print(f"wrote {given.out.name}: {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
