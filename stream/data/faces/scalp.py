"""The hairy part of a head as a grid of directions, and what covers it: short hair, curls, buns, hats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.spatial import cKDTree

from stream.data.faces.head import HeadModel, vertex_normals
from stream.data.faces.prop import CLOTHES_PART, HAIR_PART, Prop
from stream.data.faces.shapes import (
    grid_triangles,
    grid_uv,
    joined,
    lathe,
    prop_of,
    rounded_section,
    smooth_noise,
    soft_step,
    tinted_noise,
    tube,
)
from stream.types import Array

CENTRE = np.array([0.0, -25.0, 80.0])
"""Middle of the skull, mm, head frame, of any head: directions are counted from there."""

ROWS, COLUMNS = 34, 65
"""Grid: rows from the crown down, columns from the nape round by the right, the face and the left."""

LOWEST = math.radians(140)
"""Angle of the last row from the crown."""

NEIGHBOURS = 6

UNDER_MM = 3.5
"""How far below the skin a cover's border ends."""

CROPPED, AFRO, BUN, CLOSE = range(4)

FOREHEAD, RIGHT_TEMPLE, BEFORE_EAR = 10, 127, 234
"""Landmarks at the top of the face, at its side, and before the ear."""


@dataclass(frozen=True, slots=True)
class Scalp:
    """A head model's surface above the neck, seen from the skull's middle.

    :ivar vertices: (G, NEIGHBOURS) int32 and ``weights`` float32: each place of the grid as a mean of the
        model's vertices around it.
    :ivar azimuth: (G,) radians round the vertical, 0 in front, positive to the image's right.
    :ivar triangles, uv: of the grid.
    """

    vertices: Array
    weights: Array
    azimuth: Array
    triangles: Array
    uv: Array

    def on(self, head: Array) -> tuple[Array, Array]:
        """Places and outward unit normals (G, 3) float32 on a head (N, 3)."""
        places = np.einsum("gk,gki->gi", self.weights, head[self.vertices].astype(np.float32))
        normals = vertex_normals(places, self.triangles)
        away = places - CENTRE.astype(np.float32)
        normals *= np.sign(np.einsum("gi,gi->g", normals, away))[:, None]
        # The grid is open at the nape and at the crown; there its two sides get one normal.
        grid = normals.reshape(ROWS, COLUMNS, 3)
        grid[:, 0] = grid[:, -1] = grid[:, 0] + grid[:, -1]
        grid[0] = grid[0].sum(axis=0)
        return places, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def scalp_of(model: HeadModel) -> Scalp:
    """Work out the grid of a head model, on its mean."""
    polar = np.linspace(0.005, LOWEST, ROWS)
    azimuth = np.linspace(-math.pi, math.pi, COLUMNS)
    p, a = (grid.ravel() for grid in np.meshgrid(polar, azimuth, indexing="ij"))
    directions = np.stack([np.sin(p) * np.sin(a), -np.cos(p), -np.sin(p) * np.cos(a)], axis=1)
    outside = model.mean[: model.outer_end] - CENTRE
    outside = outside / np.linalg.norm(outside, axis=1, keepdims=True)
    count = min(NEIGHBOURS, len(outside))
    distance, nearest = cKDTree(outside).query(directions, k=np.arange(1, count + 1))
    # Nearer ones count more; the width keeps the surface smooth where vertices are far apart.
    width = np.maximum(distance.mean(axis=1, keepdims=True), 0.04)
    weights = np.exp(-((distance / width) ** 2))
    weights /= weights.sum(axis=1, keepdims=True)
    return Scalp(
        nearest.astype(np.int32),
        weights.astype(np.float32),
        a.astype(np.float32),
        grid_triangles(ROWS, COLUMNS),
        grid_uv(ROWS, COLUMNS),
    )


def hairline(scalp: Scalp, places: Array, landmarks: Array, receding: float = 0.0) -> Array:
    """(G,) mm by which places (G, 3) of a head lie above its hairline: round the forehead, before and over
    the ears, round the nape.

    :param landmarks: (478, 3) on the head; ``receding`` mm by which the forehead is higher.
    """
    temple, ear = landmarks[RIGHT_TEMPLE], landmarks[BEFORE_EAR]
    side = math.degrees(math.atan2(abs(temple[0]), CENTRE[2] - temple[2]))
    forehead = landmarks[FOREHEAD, 1] - receding
    angles = [0, 30, 0.75 * side, side - 4, side + 5, side + 11, side + 30, side + 42, 150, 180]
    # fmt: off
    heights = [
        forehead - 4, forehead - 6, forehead + 12, temple[1] - 8, ear[1] + 4,
        temple[1] - 25, temple[1] - 27, temple[1] + 20, temple[1] + 52, temple[1] + 56,
    ]
    # fmt: on
    return np.interp(np.degrees(np.abs(scalp.azimuth)), angles, heights) - places[:, 1]


def _lumps(rng: Generator, cells: int) -> Array:
    """(G,) float32 noise on the grid, without a seam at the nape."""
    noise = smooth_noise(rng, COLUMNS, cells)[:ROWS]
    noise[:, -1] = noise[:, 0]
    noise[0] = noise[0].mean()
    return noise.ravel()


def _covered(scalp: Scalp, inside: Array) -> Array:
    """(M, 3) triangles of the grid with a corner above the border."""
    return scalp.triangles[(inside > 0)[scalp.triangles].any(axis=1)]


def draw_short_hair(rng: Generator, scalp: Scalp, head: Array, landmarks: Array, colour: Array) -> list[Prop]:
    """Short hair, an afro, or hair pulled back into a bun.

    :param head: (N, 3) float32 mm; ``landmarks`` (478, 3) on it; ``colour`` (3,) 0..1 RGB.
    """
    kind = rng.choice(3, p=(0.5, 0.25, 0.25))
    return [_hair(rng, scalp, head, landmarks, colour, int(kind))]


def draw_close_hair(rng: Generator, scalp: Scalp, head: Array, landmarks: Array, colour: Array) -> Prop:
    """Hair so close to the head that a hat fits over it; arguments as for `draw_short_hair`."""
    return _hair(rng, scalp, head, landmarks, colour, CLOSE)


def _hair(rng: Generator, scalp: Scalp, head: Array, landmarks: Array, colour: Array, kind: int) -> Prop:
    places, normals = scalp.on(head)
    inside = hairline(scalp, places, landmarks, float(rng.uniform(-6, 16))) + 2.0 * _lumps(rng, 20)
    away = places - CENTRE
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    if kind == CROPPED:
        thick, edge, way = rng.uniform(3, 20), rng.uniform(6, 16), normals
        sides = rng.uniform(0.25, 1.0)
        # Fuller on top than at the sides and behind.
        shape = sides + (1 - sides) * soft_step(-away[:, 1] + 0.2, 1.0)
        rough = rng.uniform(0.05, 0.25) * _lumps(rng, 26)
    elif kind == AFRO:
        thick, edge, way = rng.uniform(20, 60), rng.uniform(15, 40), away
        shape, rough = np.ones(len(places)), 0.06 * _lumps(rng, 20) + 0.03 * rng.standard_normal(len(places))
    else:
        thick, edge, way = rng.uniform(1.5, 3.0 if kind == CLOSE else 7.0), rng.uniform(5, 10), normals
        shape, rough = np.ones(len(places)), 0.05 * _lumps(rng, 12)
    cover = soft_step(inside, edge) ** 0.6
    lift = thick * cover * shape * (1 + rough) - UNDER_MM * (1 - cover)
    vertices = places + way * lift[:, None]
    parts = [(vertices, scalp.uv, _covered(scalp, inside))]
    if kind == BUN:
        parts.append(_bun(rng, places, away))
    finer = 6.0 if kind == AFRO else 1.0
    stretch = (float(rng.uniform(2, 8)) * finer, float(rng.uniform(0.5, 4)) * finer)
    strands = float(rng.uniform(0.4, 1.3))
    gloss = float(rng.uniform(0.02, 0.2))
    return prop_of(joined(parts), HAIR_PART, np.asarray(colour), None, gloss, strands, stretch)


def _bun(rng: Generator, places: Array, away: Array) -> tuple[Array, Array, Array]:
    """A lumpy ball at the crown or behind, half in the hair."""
    row = int(rng.uniform(0.05, 0.62) * ROWS)
    at = row * COLUMNS
    radius = rng.uniform(20, 38)
    angle = np.linspace(0, math.pi, 13)
    vertices, uv, triangles = lathe(np.stack([np.sin(angle), -np.cos(angle)], axis=1) * radius, 20)
    vertices = vertices * rng.uniform(0.75, 1.1, 3) + rng.normal(0, 0.5, vertices.shape)
    return vertices + places[at] + away[at] * radius * 0.7, uv, triangles


def draw_headwear(rng: Generator, scalp: Scalp, head: Array, landmarks: Array) -> list[Prop]:
    """A beanie, a cap with a visor, or headphones; arguments as for `draw_short_hair`."""
    places, normals = scalp.on(head)
    kind = rng.choice(3, p=(0.4, 0.35, 0.25))
    if kind == 2:
        return [_headphones(rng, places, landmarks)]
    forehead = landmarks[FOREHEAD, 1]
    front = forehead + rng.uniform(-8, 24)
    behind = forehead + rng.uniform(40, 85)
    back = (1 - np.cos(scalp.azimuth)) / 2
    inside = front + (behind - front) * back**0.8 - places[:, 1]
    top = soft_step(inside, 110.0)
    if kind == 0:
        cuff = rng.uniform(30, 55) if rng.random() < 0.6 else 0.0
        lift = rng.uniform(5.5, 8) + rng.uniform(0, 35) * top**2 + 3.0 * ((inside < cuff) & (cuff > 0))
        lift = lift + rng.uniform(0, 1.0) * _lumps(rng, 16)
    else:
        lift = rng.uniform(5, 9) + rng.uniform(4, 18) * top
    vertices = places + normals * np.where(inside > 0, lift, -UNDER_MM)[:, None]
    # The border is drawn level instead of along the grid.
    under = (inside <= 0) & (inside > -14)
    vertices[under, 1] += np.clip(inside[under], -14, 0)
    parts = [(vertices, scalp.uv * [rng.uniform(2, 8), 2.0], _covered(scalp, inside))]
    if kind == 1:
        parts.append(_visor(rng, places, normals, front))
    colour = rng.beta(0.8, 1.0) + rng.beta(1.0, 2.0) * (rng.random(3) - 0.5)
    picture = tinted_noise(rng, 64, float(rng.uniform(0.02, 0.15)))
    return [prop_of(joined(parts), CLOTHES_PART, colour, picture, gloss=float(rng.uniform(0.0, 0.08)))]


def _visor(rng: Generator, places: Array, normals: Array, front: float) -> tuple[Array, Array, Array]:
    """A visor before the forehead, from the cap's lower border forwards."""
    columns = np.arange(COLUMNS // 2 - 10, COLUMNS // 2 + 11)
    grid, outward = places.reshape(ROWS, COLUMNS, 3), normals.reshape(ROWS, COLUMNS, 3)
    upper = grid[: ROWS * 2 // 3, columns, 1]
    row = np.abs(upper - (front - 6.0)).argmin(axis=0)
    root = grid[row, columns] + 4.0 * outward[row, columns]
    angle = np.linspace(-math.pi / 2, math.pi / 2, len(columns))
    length, drop = rng.uniform(55, 80), rng.uniform(-5, 30)
    out = np.linspace(0, 1, 6)[:, None, None]
    reach = np.cos(angle)[:, None] ** 0.7
    arch = rng.uniform(0, 12) * (1 - np.cos(angle))[:, None]
    way = np.concatenate([0 * reach, drop * reach + arch, -length * reach], axis=1)
    vertices = (root + out * way).reshape(-1, 3)
    return vertices, grid_uv(6, len(columns)), grid_triangles(6, len(columns))


def _headphones(rng: Generator, places: Array, landmarks: Array) -> Prop:
    """A band over the crown and a cup on each ear."""
    radius, thick = rng.uniform(28, 44), rng.uniform(16, 34)
    ears = landmarks[[BEFORE_EAR, 454]] + np.array([0.0, -4.0, 34.0])
    sides = np.array([-1.0, 1.0])
    away = np.abs(places[np.abs(places[:, 1] - ears[:, 1].mean()) < 15][:, 0]).max(initial=70.0)
    parts = []
    for ear, side in zip(ears, sides, strict=True):
        profile = np.array([[0, 0], [0.8, 0], [1, 0.2], [1, 0.7], [0.85, 1], [0, 1.0]]) * [radius, thick]
        vertices, uv, triangles = lathe(profile, 24)
        # The lathe's axis, y, points away from the head.
        turned = np.stack([side * vertices[:, 1], vertices[:, 0] * 1.15, vertices[:, 2]], axis=1)
        turned[:, 0] += side * (away - 4.0)
        turned[:, 1:] += ear[1:]
        parts.append((turned, uv, triangles))
    angle = np.linspace(-1.45, 1.45, 28)
    crown = places[:, 1].min() - rng.uniform(5, 14)
    low = ears[:, 1].mean() - radius * 0.6
    half = away + thick * 0.4
    path = np.stack(
        [
            half * np.sin(angle) / math.sin(1.45),
            low + (crown - low) * np.cos(angle),
            np.full(28, ears[:, 2].mean()),
        ],
        axis=1,
    )
    outward = np.stack([np.sin(angle), -np.cos(angle), np.zeros(28)], axis=1)
    band = tube(
        path,
        outward,
        np.tile([0.0, 0, 1.0], (28, 1)),
        rounded_section(rng.uniform(4, 12), rng.uniform(14, 36), 8),
    )
    parts.append((band, grid_uv(28, 8), grid_triangles(28, 8, around=True)))
    colour = np.full(3, rng.beta(0.5, 0.7)) if rng.random() < 0.7 else rng.random(3)
    return prop_of(joined(parts), CLOTHES_PART, colour, None, gloss=float(rng.uniform(0.05, 0.5)))
