"""MakeHuman hair meshes (CC0) laid onto the head model's skull."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree

from stream.data.faces.head import HeadModel, vertex_normals
from stream.data.faces.prop import HAIR_PART, Prop
from stream.data.faces.scalp import (
    Scalp,
    draw_close_hair,
    draw_headwear,
    draw_short_hair,
    scalp_of,
)
from stream.errors import InputError
from stream.types import Array

SKULL_SHARE = 0.658
"""MakeHuman's units over the skull's width in mm: its hair is scaled to the head model's skull."""

FIRST_GUESS_Z = 130.0
"""Millimetres from MakeHuman's origin to the head frame's, about."""

CLEARANCE = 3.0
"""Millimetres by which hair at the skull is kept outside it."""

PLACING_STEPS = 40

MAX_OBJ_BYTES = 64 << 20

LEFT_OUT = ("afro01", "bob01", "bob02")
"""Styles not used: the first is loose cards without its see-through texture, the others cover an eye."""

TILTED_BACK = {"braid01": 12.0, "short03": 14.0}
"""Degrees by which a style is turned about x, its front upwards, to free the eye that its fringe covers."""

TILT_CENTRE = (0.0, -40.0, 80.0)
"""What it is turned about, mm, head frame: about the middle of the skull."""

MOST_VOLUME = 15.0
"""Largest distance (mm) by which a style is made fuller."""

HEADWEAR_SHARE, SHORT_SHARE = 0.10, 0.25
"""How often `draw_hair` gives a hat or headphones, and of the rest how often hair that is not a mesh's."""

SCALP_ABOVE = -30.0
"""Skull vertices above this y (mm, head frame, y down) take part in placing hair."""


@dataclass(frozen=True, slots=True)
class Hair:
    """One hair mesh on the mean head: vertices (N, 3) mm head frame, uv (N, 2), triangles (M, 3).

    :ivar scalp: the head model's, shared by all styles.
    """

    name: str
    vertices: Array
    uv: Array
    triangles: Array
    scalp: Scalp

    def on(self, model: HeadModel, head: Array) -> tuple[Array, Array]:
        """Vertices and normals (N, 3) float32 on a head of other shape (its vertices in the head frame)."""
        moved = self._moved(model, head)
        return moved, vertex_normals(moved, self.triangles)

    def _moved(self, model: HeadModel, head: Array) -> Array:
        """(N, 3) float32: the affine map that takes the mean skull to the head's takes the hair along."""
        scalp = scalp_vertices(model)
        source = np.column_stack([model.mean[scalp], np.ones(len(scalp))]).astype(np.float64)
        affine = np.linalg.solve(source.T @ source, source.T @ head[scalp]).astype(np.float32)
        return np.ascontiguousarray(self.vertices @ affine[:3] + affine[3])

    def as_prop(self, rng: Generator, model: HeadModel, head: Array, colour: Array) -> Prop:
        """This style on a head, varied: mirrored, fuller, shorter or longer, higher or lower on the forehead.

        :param head: (N, 3) float32 mm, ``model``'s vertices in the head frame.
        :param colour: (3,) 0..1 RGB.
        """
        vertices = self._moved(model, head)
        mirrored = -1.0 if rng.random() < 0.5 else 1.0
        vertices = vertices * (np.array([mirrored, 1, 1]) * (1 + rng.normal(0, 0.01, 3)))
        # More hair is farther from the middle of the skull; the strands' layers keep their order.
        away = vertices - np.array(TILT_CENTRE)
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1.0)
        vertices = vertices + away * (MOST_VOLUME * rng.beta(1.0, 2.5))
        if rng.random() < 0.4:
            below = np.clip(vertices[:, 1] - rng.uniform(-20, 30), 0, None)
            vertices[:, 1] -= below * (1 - rng.uniform(0.2, 1.15))
        tilt = cv2.Rodrigues(np.array([-math.radians(rng.uniform(-2, 9)), 0.0, 0.0]))[0]
        vertices = (vertices - TILT_CENTRE) @ tilt.T + TILT_CENTRE + [0, rng.normal(-1, 2), rng.normal(0, 2)]
        vertices = np.ascontiguousarray(vertices, np.float32)
        triangles = self.triangles
        if rng.random() < 0.25:
            ends = rng.uniform(20, 140) + 4 * np.sin(self.uv[:, 0] * 40)
            triangles = triangles[(vertices[:, 1] < ends)[triangles].all(axis=1)]
        uv = self.uv if rng.random() < 0.5 else np.ascontiguousarray(self.uv[:, ::-1])
        return Prop(
            vertices,
            vertex_normals(vertices, triangles),
            uv,
            np.ascontiguousarray(triangles),
            HAIR_PART,
            np.clip(np.asarray(colour) * rng.uniform(0.85, 1.15), 0.01, 1).astype(np.float32),
            gloss=float(rng.uniform(0.05, 0.25)),
            strands=float(rng.uniform(0.3, 1.2)),
            stretch=(float(rng.uniform(1, 6)), float(rng.uniform(0.3, 1.0))),
        )


def scalp_vertices(model: HeadModel) -> Array:
    """Indices of the skull's vertices, forehead included, neck and face excluded."""
    return np.flatnonzero(model.mean[: model.outer_end, 1] < SCALP_ABOVE)


def draw_hair(
    rng: Generator, styles: list[Hair], model: HeadModel, head: Array, landmarks: Array, colour: Array
) -> list[Prop]:
    """Random hair on a head.

    :param styles: from `load_hair`, of the same model.
    :param head: (N, 3) float32 mm, ``model``'s vertices in the head frame; ``landmarks`` (478, 3) on it.
    :param colour: (3,) 0..1 RGB of the hair.
    """
    scalp = styles[0].scalp
    props = draw_headwear(rng, scalp, head, landmarks) if rng.random() < HEADWEAR_SHARE else []
    kind = rng.random()
    if props:
        # Long hair would stick through a hat; what is below it is short or nothing.
        return props if kind < 0.4 else [*props, draw_close_hair(rng, scalp, head, landmarks, colour)]
    if kind < SHORT_SHARE:
        return draw_short_hair(rng, scalp, head, landmarks, colour)
    return [styles[rng.integers(len(styles))].as_prop(rng, model, head, colour)]


def load_hair(folder: Path, model: HeadModel) -> list[Hair]:
    """All usable hair meshes of a folder, each moved onto the mean head.

    :raises InputError: there is none, or one cannot be read.
    """
    paths = sorted(path for path in folder.glob("*.obj") if path.stem not in LEFT_OUT)
    if not paths:
        raise InputError(f"{folder} has no hair meshes (.obj); point --shared at the data folder's parent.")
    scalp = scalp_of(model)
    return [_placed(path.stem, *_read_obj(path), model, scalp) for path in paths]


def _read_obj(path: Path) -> tuple[Array, Array, Array]:
    """Vertices (N, 3), uv (N, 2) and triangles (M, 3) of an OBJ; a vertex with several uv becomes several."""
    positions: list[list[float]] = []
    coordinates: list[list[float]] = []
    corners: dict[tuple[int, int], int] = {}
    triangles: list[tuple[int, int, int]] = []
    try:
        if path.stat().st_size > MAX_OBJ_BYTES:
            raise ValueError("it is larger than 64 MiB")
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                positions.append([float(x) for x in rest.split()[:3]])
            elif kind == "vt":
                coordinates.append([float(x) for x in rest.split()[:2]])
            elif kind == "f":
                pairs = [tuple(int(i) - 1 for i in corner.split("/")[:2]) for corner in rest.split()]
                face = [corners.setdefault((p[0], p[1]), len(corners)) for p in pairs]
                triangles += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]
        keys = np.array(list(corners), np.int64)
        return (
            np.array(positions)[keys[:, 0]],
            np.array(coordinates)[keys[:, 1]],
            np.array(triangles, np.int32),
        )
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{path.name} is not a readable OBJ mesh: {error}.") from error


def _placed(name: str, units: Array, uv: Array, triangles: Array, model: HeadModel, scalp: Scalp) -> Hair:
    """Slide the mesh along y and z until it hugs the skull, tilt it, then push out what is inside."""
    skull = model.mean[scalp_vertices(model)]
    scale = SKULL_SHARE * np.ptp(skull[:, 0])
    vertices = units * [scale, -scale, -scale]
    normals = vertex_normals(model.mean, model.triangles)[scalp_vertices(model)]
    tree = cKDTree(skull)
    shift = np.array([0.0, skull[:, 1].min() - vertices[:, 1].min() - 12.0, FIRST_GUESS_Z])
    for _ in range(PLACING_STEPS):
        moved = vertices + shift
        high = moved[moved[:, 1] < -40.0]
        _, nearest = tree.query(high)
        away = ((high - skull[nearest]) * normals[nearest]).sum(axis=1)
        pull = np.clip(CLEARANCE + 4.0 - away, -10.0, 10.0) * np.where(away < CLEARANCE, 2.0, 0.5)
        step = (normals[nearest] * pull[:, None]).mean(axis=0)
        shift += [0.0, *(step[1:] * 0.8)]
    centre = np.array(TILT_CENTRE)
    tilt = cv2.Rodrigues(np.array([-math.radians(TILTED_BACK.get(name, 0.0)), 0.0, 0.0]))[0]
    moved = (vertices + shift - centre) @ tilt.T + centre
    distance, nearest = tree.query(moved)
    away = ((moved - skull[nearest]) * normals[nearest]).sum(axis=1)
    inside = (away < CLEARANCE) & (distance < 30.0)
    moved[inside] += normals[nearest[inside]] * (CLEARANCE - away[inside])[:, None]
    return Hair(name, moved.astype(np.float32), uv.astype(np.float32), triangles, scalp)
