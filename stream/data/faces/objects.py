"""Things before or beside a face: phones, cups, microphones, pens, cards, cloth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

from stream.data.faces.prop import OCCLUDER_PART, Prop
from stream.data.faces.shapes import (
    clear,
    grid_triangles,
    grid_uv,
    joined,
    lathe,
    prop_of,
    rotation,
    rounded_section,
    smooth_noise,
    tinted_noise,
    tube,
)
from stream.types import Array

Mesh = tuple[Array, Array, Array]
"""Vertices (N, 3) mm, uv (N, 2), triangles (M, 3); the object's middle is the origin, its length along y."""

Drawn = tuple[Mesh, Array, Array, float, tuple[float, float, float], float]
"""Mesh, place (3,), rotation (3, 3), spread of further tilts (radians), direction in which it comes to the
head, and how often it touches."""

FRONT, BESIDE = (0.0, 0.0, 1.0), (-1.0, 0.0, 0.0)

PATCH_SIDE = 96

MOUTH, CHIN, FOREHEAD, CHEEK = (0.0, 66.0), (0.0, 108.0), (0.0, -50.0), (48.0, 45.0)

ROWS = 9
"""Vertices along each side of a flat face: enough for `clear` to see where it touches."""


def draw_object(rng: Generator, pictures: Sequence[Array], head: Array) -> Prop:
    """A random object partly before the face, touching it or up to 250 mm before it.

    :param pictures: (H, W, 3) uint8 RGB; a patch of one of them is often the object's texture.
    :param head: (H, 3) float32 mm, head frame; nothing of the object is inside it as seen from its side.
    """
    kind = KINDS[rng.choice(len(KINDS), p=SHARES)]
    mesh, place, turn, tilts, comes, touching = kind(rng)
    vertices: Array = np.asarray(mesh[0]) @ turn.T
    if tilts:
        vertices = vertices @ rotation(*rng.normal(0, tilts, 3)).T
    side = 1.0 if rng.random() < 0.5 else -1.0
    vertices = (vertices + place) * [side, 1.0, 1.0]
    direction = np.array(comes) * [side, 1.0, 1.0]
    vertices = vertices - direction * 120.0
    touches = bool(rng.random() < touching)
    gap = rng.uniform(0.5, 4.0) if touches else math.exp(rng.uniform(math.log(8), math.log(250)))
    placed = clear(vertices, head, gap, direction)
    picture = _texture(rng, pictures)
    colour = np.ones(3) if picture is not None and rng.random() < 0.6 else _colour(rng)
    gloss = float(rng.choice([0.02, 0.1, 0.4, 0.8]))
    return prop_of((placed, mesh[1], mesh[2]), OCCLUDER_PART, colour, picture, gloss)


def _colour(rng: Generator) -> Array:
    """(3,) any colour; greys, black and white are more frequent than the rest."""
    if rng.random() < 0.5:
        return np.full(3, rng.beta(0.6, 0.6)) * (1 + rng.normal(0, 0.04, 3))
    return rng.random(3)


def _texture(rng: Generator, pictures: Sequence[Array]) -> Array | None:
    """(S, S, 3) uint8: a patch of a picture, or noise; ``None`` for one colour."""
    kind = rng.random()
    if kind < 0.3 or not pictures:
        return None if kind < 0.15 else tinted_noise(rng, PATCH_SIDE, float(rng.uniform(0.02, 0.3)))
    picture = pictures[rng.integers(len(pictures))]
    height, width = picture.shape[:2]
    # A small one: a whole face on a card would be a second face.
    shorter = min(height, width)
    side = int(rng.integers(max(shorter // 12, 1), max(shorter // 3, 1) + 1))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    patch = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return cv2.resize(patch, (PATCH_SIDE, PATCH_SIDE), interpolation=cv2.INTER_AREA)


def _box(width: float, height: float, depth: float) -> Mesh:
    """A box about the origin; each of its six sides shows the whole picture."""
    v, u = np.meshgrid(np.linspace(-0.5, 0.5, ROWS), np.linspace(-0.5, 0.5, ROWS), indexing="ij")
    one = np.full(ROWS * ROWS, 0.5)
    u, v = u.ravel(), v.ravel()
    sides = [(u, v, one), (u, v, -one), (one, u, v), (-one, u, v), (u, one, v), (u, -one, v)]
    uv, triangles = grid_uv(ROWS, ROWS), grid_triangles(ROWS, ROWS)
    size = np.array([width, height, depth])
    return joined([(np.stack(side, axis=1) * size, uv, triangles) for side in sides])


def _ball(radii: Array) -> Mesh:
    """An ellipsoid about the origin."""
    angle = np.linspace(0, math.pi, 13)
    vertices, uv, triangles = lathe(np.stack([np.sin(angle), -np.cos(angle)], axis=1), 18)
    return vertices * radii, uv, triangles


def _stick(length: float, radius: float, end: float) -> Mesh:
    """A rod along y with closed ends, its radius ``end`` at +y."""
    profile = [
        (0.0, -length / 2),
        *((radius + (end - radius) * t, (t - 0.5) * length) for t in np.linspace(0, 1, 25)),
    ]
    return lathe(np.array([*profile, (0.0, length / 2)]), 10)


def _cup(rng: Generator, height: float, top: float, bottom: float, neck: float | None = None) -> Mesh:
    """A closed vessel along y, its mouth at -y; ``neck`` narrows a bottle's upper third to that radius."""
    t = np.linspace(0, 1, 14)
    radius = top + (bottom - top) * t + rng.uniform(0, 4) * np.sin(math.pi * t)
    if neck is not None:
        radius = neck + (radius - neck) / (1 + np.exp(-(t - 0.34) * 22))
    side = np.stack([radius, (t - 0.5) * height], axis=1)
    return lathe(np.array([[0.0, -0.4 * height], *side, [0.0, 0.5 * height]]), 24)


def _bent(width: float, height: float, heights: Array, rows: int, columns: int) -> Mesh:
    """A sheet whose points lie ``heights`` (rows, columns) mm before its plane."""
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
    vertices = np.stack([x * width, y * height, -heights], axis=-1).reshape(-1, 3)
    return vertices, grid_uv(rows, columns), grid_triangles(rows, columns)


def _near(rng: Generator, places: Sequence[tuple[float, float]], spread: float) -> Array:
    x, y = places[rng.integers(len(places))]
    return np.array([x, y, 0.0]) + np.append(rng.normal(0, spread, 2), 0.0)


def _phone(rng: Generator) -> Drawn:
    """Held before the face, or at the ear."""
    mesh = _box(rng.uniform(62, 82), rng.uniform(125, 168), rng.uniform(6, 13))
    if rng.random() < 0.5:
        turn = rotation(0.0, math.pi / 2, 0.0) @ rotation(0.0, 0.0, rng.uniform(-0.2, 0.9))
        place = np.array([0.0, rng.uniform(10, 60), rng.uniform(20, 80)])
        return mesh, place, turn, 0.12, BESIDE, 0.8
    turn = rotation(0.0, 0.0, rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.3))
    return mesh, _near(rng, (MOUTH, CHIN, CHEEK, FOREHEAD), 25), turn, 0.25, FRONT, 0.2


def _case(rng: Generator) -> Drawn:
    """A box of any shape."""
    mesh = _box(*np.exp(rng.uniform(math.log(15), math.log(140), 3)))
    place = _near(rng, (MOUTH, CHIN, CHEEK, FOREHEAD, (0.0, 10.0)), 30)
    return mesh, place, rotation(*rng.uniform(-math.pi, math.pi, 3)), 0.0, FRONT, 0.4


def _paper(rng: Generator) -> Drawn:
    """A card, a book's page or a sheet, bent about one of its directions."""
    width, height = rng.uniform(55, 215), rng.uniform(50, 200)
    t = np.linspace(-1, 1, 14)
    bend = rng.normal(0, 0.12) * width / 2
    heights = np.tile(bend * t**2, (14, 1)) + 0.03 * height * rng.normal() * t[:, None]
    mesh = _bent(width, height, heights, 14, 14)
    place = _near(rng, (MOUTH, CHIN, CHEEK, FOREHEAD, (75.0, 20.0)), 25)
    return mesh, place, rotation(0.0, 0.0, rng.uniform(-math.pi, math.pi)), 0.3, FRONT, 0.25


def _mug(rng: Generator) -> Drawn:
    """A mug with its handle, or a glass, drunk from or held."""
    height, radius = rng.uniform(80, 130), rng.uniform(28, 46)
    mesh = _cup(rng, height, radius, radius * rng.uniform(0.65, 1.0))
    if rng.random() < 0.6:
        mesh = joined([mesh, _handle(height * 0.35, radius)])
    turn = rotation(rng.uniform(-0.2, 1.3), 0.0, 0.0) @ rotation(0.0, rng.uniform(-math.pi, math.pi), 0.0)
    return mesh, _near(rng, (MOUTH, (0.0, 85.0), CHIN), 10), turn, 0.12, FRONT, 0.7


def _handle(radius: float, out: float) -> Mesh:
    angle = np.linspace(-math.pi / 2, math.pi / 2, 12)
    zero = np.zeros_like(angle)
    path = np.stack([out - 3 + 0.8 * radius * np.cos(angle), radius * np.sin(angle), zero], axis=1)
    across = np.stack([np.cos(angle), np.sin(angle), zero], axis=1)
    vertices = tube(path, across, np.tile([0.0, 0.0, 1.0], (12, 1)), rounded_section(8, 12, 8))
    return vertices, grid_uv(12, 8), grid_triangles(12, 8, around=True)


def _bottle(rng: Generator) -> Drawn:
    height = rng.uniform(170, 260)
    mesh = _cup(rng, height, rng.uniform(26, 42), rng.uniform(26, 42), rng.uniform(9, 16))
    turn = rotation(rng.uniform(0.2, 1.6), 0.0, 0.0)
    return mesh, _near(rng, ((0.0, 110.0), CHIN), 15), turn, 0.2, FRONT, 0.6


def _microphone(rng: Generator) -> Drawn:
    """A ball on a stick that comes from below, from the side or from above."""
    ball, stick = rng.uniform(12, 34), rng.uniform(120, 220)
    vertices, uv, triangles = _stick(stick, rng.uniform(6, 13), ball * rng.uniform(0.4, 0.7))
    head = _ball(np.array([ball, ball * rng.uniform(1.0, 1.5), ball]))
    handle = (vertices * [1, -1, 1] + [0, stick / 2 + ball * 0.7, 0], uv, triangles)
    turn = rotation(rng.uniform(-0.2, 1.2), 0.0, rng.choice([0.0, -1.2, 2.6]) + rng.normal(0, 0.4))
    return joined([head, handle]), _near(rng, (MOUTH, (0.0, 90.0), (20.0, 85.0)), 10), turn, 0.1, FRONT, 0.5


def _boom(rng: Generator) -> Drawn:
    """A headset's boom: from beside the ear forward to the corner of the mouth."""
    t = np.linspace(0, 1, 24)[:, None]
    ear, elbow = np.array([88.0, 25, 60]), np.array([88.0, 70, 5 + rng.normal(0, 8)])
    end = np.array([rng.uniform(15, 40), rng.uniform(62, 88), -32 - rng.uniform(0, 12)])
    path = (1 - t) ** 2 * ear + 2 * t * (1 - t) * elbow + t**2 * end
    along = np.gradient(path, axis=0)
    across = np.cross(along, [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    height = np.cross(across, along)
    height /= np.linalg.norm(height, axis=1, keepdims=True)
    thick = rng.uniform(3, 6)
    rod = tube(path, across, height, rounded_section(thick, thick, 8))
    ball, uv, triangles = _ball(np.array([1.3, 1.0, 1.0]) * rng.uniform(5, 12))
    tip = (ball + end, uv, triangles)
    mesh = joined([(rod, grid_uv(24, 8), grid_triangles(24, 8, True)), tip])
    return mesh, np.zeros(3), np.eye(3), 0.0, FRONT, 1.0


def _pen(rng: Generator) -> Drawn:
    """A pen, toothbrush, cigarette or straw at the mouth, or a spoon."""
    length, radius = rng.uniform(90, 210), rng.uniform(2.5, 7)
    mesh = _stick(length, radius, radius * rng.uniform(0.5, 1.0))
    if rng.random() < 0.4:
        bowl, uv, triangles = _ball(np.array([rng.uniform(8, 19), rng.uniform(18, 30), rng.uniform(4, 8)]))
        mesh = joined([mesh, (bowl - [0, length / 2 + 8, 0], uv, triangles)])
    vertices = mesh[0] + [0, length / 2, 0]
    turn = rotation(0.0, 0.0, rng.uniform(-1.8, 1.8)) @ rotation(rng.uniform(0.1, 1.3), 0.0, 0.0)
    place = _near(rng, (MOUTH, MOUTH, (20.0, 70.0), CHEEK, FOREHEAD), 6)
    return (vertices, mesh[1], mesh[2]), place, turn, 0.05, FRONT, 0.8


def _cloth(rng: Generator) -> Drawn:
    """A scarf's or cloth's folds over the lower face, or hanging at one side."""
    rows = 22
    width, height = rng.uniform(120, 240), rng.uniform(70, 170)
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, rows), indexing="ij")
    phase = rng.uniform(1, 5) * x + rng.uniform(2, 9) * y + rng.uniform(0, 2 * math.pi)
    heights = rng.uniform(1, 7) * np.sin(phase) + 3 * smooth_noise(rng, rows, 5)
    heights -= rng.uniform(0, 0.9) * width / 2 * x**2
    vertices, uv, triangles = _bent(width, height, heights, rows, rows)
    vertices[:, 1] += 0.06 * height * np.sin(rng.uniform(3, 9) * vertices[:, 0] / width + rng.uniform(0, 6))
    place = _near(rng, (MOUTH, (0.0, 105.0), CHIN, (70.0, 60.0)), 12)
    place[1] += height * 0.2
    return (vertices, uv, triangles), place, rotation(0.0, 0.0, rng.normal(0, 0.25)), 0.12, FRONT, 0.85


def _blob(rng: Generator) -> Drawn:
    """A lumpy ball: fur, a cushion, an animal, a fruit."""
    vertices, uv, triangles = _ball(rng.uniform(20, 75, 3))
    bumps = smooth_noise(rng, 19, int(rng.integers(4, 12)))[:13]
    bumps[:, -1] = bumps[:, 0]
    bumps[[0, -1]] = 0
    vertices = vertices * (1 + rng.uniform(0.0, 0.14) * bumps.reshape(-1, 1))
    place = _near(rng, (MOUTH, CHIN, CHEEK, FOREHEAD, (85.0, 30.0)), 22)
    return (vertices, uv, triangles), place, rotation(*rng.uniform(-3, 3, 3)), 0.0, FRONT, 0.6


KINDS: tuple[Callable[[Generator], Drawn], ...] = (
    _phone, _case, _paper, _mug, _bottle, _microphone, _boom, _pen, _cloth, _blob,
)  # fmt: skip
SHARES = (0.16, 0.08, 0.12, 0.14, 0.06, 0.12, 0.06, 0.08, 0.10, 0.08)
