"""Meshes made of grids, and how far a mesh may come to a head before it touches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import cv2
import numba
import numpy as np
from numpy.random import Generator

from stream.data.faces.head import vertex_normals
from stream.data.faces.prop import Prop
from stream.types import Array

CELL_MM = 6.0
"""Side of the cells in which the nearest point of a head is kept."""

CELLS = 96
"""Cells along each side; a head with its shoulders fits into their 576 mm."""

TO_FACE = np.array([0.0, 0.0, 1.0])
"""The direction in which something before the face comes nearer, head frame."""


@cache
def grid_triangles(rows: int, columns: int, around: bool = False) -> Array:
    """(M, 3) int32 triangles of a grid of vertices, row after row; ``around`` joins the last column to the
    first."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    if around:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    corners = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2).reshape(-1, 3)
    corners.flags.writeable = False
    return corners


@cache
def grid_uv(rows: int, columns: int) -> Array:
    """(rows * columns, 2) float32 places 0..1 of a grid's vertices: u along columns, v along rows."""
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    uv = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    uv.flags.writeable = False
    return uv


def lathe(profile: Array, around: int) -> tuple[Array, Array, Array]:
    """Surface of revolution about y.

    :param profile: (rows, 2) radius and y, mm.
    :return: vertices (rows * (around + 1), 3), uv and triangles; the seam is doubled for the picture.
    """
    angle = np.linspace(0, 2 * math.pi, around + 1)
    ring = np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)
    vertices = profile[:, None, :1] * ring + profile[:, None, 1:] * [0.0, 1.0, 0.0]
    rows = len(profile)
    return vertices.reshape(-1, 3), grid_uv(rows, around + 1), grid_triangles(rows, around + 1)


def tube(path: Array, across: Array, height: Array, section: Array) -> Array:
    """Vertices (P * K, 3) of a section swept along a path.

    :param path: (P, 3) mm.
    :param across: (P, 3) unit, the direction of the section's first axis at each point.
    :param height: (P, 3) unit, that of its second.
    :param section: (K, 2) mm.
    """
    swept = path[:, None] + section[:, :1] * across[:, None] + section[:, 1:] * height[:, None]
    return swept.reshape(-1, 3)


def rounded_section(width: float, height: float, points: int, squareness: float = 0.5) -> Array:
    """(points, 2) closed section between an ellipse (``squareness`` 1) and a rectangle (near 0), mm."""
    angle = np.linspace(0, 2 * math.pi, points, endpoint=False) + math.pi / points
    both = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(both) * np.abs(both) ** squareness * [width / 2, height / 2]


def joined(parts: Sequence[tuple[Array, Array, Array]]) -> tuple[Array, Array, Array]:
    """Several (vertices, uv, triangles) as one."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts])
    triangles = [part[2] + start for part, start in zip(parts, starts[:-1], strict=True)]
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate(triangles),
    )


def prop_of(
    mesh: tuple[Array, Array, Array],
    part: int,
    colour: Array,
    picture: Array | None = None,
    gloss: float = 0.05,
    strands: float = 0.0,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Prop:
    """A `Prop` of (vertices, uv, triangles), with its normals worked out."""
    vertices = np.ascontiguousarray(mesh[0], np.float32)
    triangles = np.ascontiguousarray(mesh[2], np.int32)
    return Prop(
        vertices,
        vertex_normals(vertices, triangles),
        np.ascontiguousarray(mesh[1], np.float32),
        triangles,
        part,
        np.clip(colour, 0.01, 1).astype(np.float32),
        picture,
        gloss,
        strands,
        stretch,
    )


def rotation(x: float, y: float, z: float) -> Array:
    """(3, 3) rotation Rx(x) Ry(y) Rz(z), radians."""
    first = cv2.Rodrigues(np.array([x, 0.0, 0.0]))[0]
    second = cv2.Rodrigues(np.array([0.0, y, 0.0]))[0]
    return first @ second @ cv2.Rodrigues(np.array([0.0, 0.0, z]))[0]


def soft_step(inside: Array, edge: float) -> Array:
    """0 up to a border and 1 from ``edge`` inside it, smooth between (3 t^2 - 2 t^3)."""
    t = np.clip(inside / edge, 0, 1)
    return t * t * (3 - 2 * t)


def smooth_noise(rng: Generator, side: int, cells: int) -> Array:
    """(side, side) float32 noise, mean 0, standard deviation about 1, soft on the scale of ``cells``."""
    coarse = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def tinted_noise(rng: Generator, side: int, strength: float) -> Array:
    """(side, side, 3) uint8 picture near white: what multiplies a colour to make it look like a material."""
    grey = smooth_noise(rng, side, side // 8) + rng.standard_normal((side, side), np.float32)
    colour = np.stack([smooth_noise(rng, side, 4) for _ in range(3)], axis=-1)
    picture = 0.86 * (1 + strength * (0.6 * grey[..., None] + 0.5 * colour))
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def clear(vertices: Array, head: Array, gap: float, direction: Array = TO_FACE) -> Array:
    """Slide a mesh along ``direction`` until its nearest vertex is ``gap`` mm before the head.

    What is "before" is decided on a grid of `CELL_MM` across the direction, with the nearest vertex of the
    head in a cell and its eight neighbours: cheap, and safe where the head's vertices lie less than two
    cells apart.

    :param vertices: (N, 3) mm, head frame.
    :param head: (H, 3) float32 mm.
    :param direction: (3,) unit, towards the head.
    :return: (N, 3) float64; unchanged where the mesh is nowhere before the head.
    """
    direction = np.asarray(direction, np.float64)
    aside = np.cross([0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0], direction)
    aside /= np.linalg.norm(aside)
    axes = np.stack([aside, np.cross(direction, aside), direction])
    room = _room(np.asarray(vertices, np.float64), np.ascontiguousarray(head, np.float32), axes)
    return vertices if not math.isfinite(room) else vertices + direction * (room - gap)


@numba.njit(cache=True)
def _room(vertices: Array, head: Array, axes: Array) -> float:
    """How far ``vertices`` can slide along ``axes[2]`` before one is level with the head; inf if none."""
    half = CELLS // 2
    nearest = np.full((CELLS, CELLS), np.inf)
    for i in range(head.shape[0]):
        x, y, z = head[i]
        u = int(np.floor((axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) / CELL_MM)) + half
        v = int(np.floor((axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) / CELL_MM)) + half
        w = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        if 0 <= u < CELLS and 0 <= v < CELLS and w < nearest[v, u]:
            nearest[v, u] = w
    room = np.inf
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i]
        u = int(np.floor((axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) / CELL_MM)) + half
        v = int(np.floor((axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) / CELL_MM)) + half
        w = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
        for row in range(max(v - 1, 0), min(v + 2, CELLS)):
            for column in range(max(u - 1, 0), min(u + 2, CELLS)):
                room = min(room, nearest[row, column] - w)
    return room
