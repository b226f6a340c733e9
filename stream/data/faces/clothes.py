"""Collars: what is seen below a face. A profile swept round the neck, widening to shoulders."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from stream.data.faces.head import HeadModel
from stream.data.faces.prop import CLOTHES_PART, Prop
from stream.data.faces.shapes import grid_triangles, grid_uv, prop_of, smooth_noise
from stream.types import Array

AROUND = 60
"""Places round the neck, the first and last at the nape."""

HEIGHT_MM, HEIGHTS = 10.0, 16
"""Rows of the table of the neck's radius, from the chin down."""

NECK_BELOW_CHIN = (8.0, 30.0)
"""Where, in mm below the chin, a head model's neck is free of jaw and shoulders."""

CHIN_BEHIND_NOSE = 40.0
"""Millimetres behind the tip of the nose within which the chin is."""

FEWEST = 12
"""Neck vertices below which there is nothing to put a collar round."""

CLOSE_MM = 2.0
"""How near cloth comes to the skin."""

LEAN = -0.28
"""How much higher a collar is behind than in front, over its depth."""

SHOULDER_STEPS = 9

BUILD = (1.0, 0.55)
"""Half width and half depth of the trunk, relative to one another."""

Ring = tuple[float, float]
"""Millimetres outwards from the skin and down from the neck's base."""


def draw_collar(rng: Generator, model: HeadModel, head: Array) -> Prop | None:
    """Random clothes round a neck, or ``None`` for a head without one.

    :param head: (N, 3) float32 mm, ``model``'s vertices in the head frame.
    """
    neck = _Neck.of(model, head)
    if neck is None:
        return None
    style = STYLES[rng.choice(len(STYLES), p=SHARES)]
    rings, opening = style(rng)
    base = neck.chin + rng.uniform(32, 50)
    radius, height = neck.follow(np.array(rings), base)
    shoulders, fall = neck.shoulders(rng, radius[-1], height[-1])
    radius, height = np.concatenate([radius, shoulders]), np.concatenate([height, fall])
    front = np.clip(np.cos(neck.angle), 0, 1) ** 4
    fading = np.clip(1 - np.arange(len(radius)) / (len(rings) + 3), 0, 1)[:, None]
    height = height + opening * front * fading
    folds = smooth_noise(rng, AROUND, 14)[: len(radius)] * rng.uniform(0.3, 3.0)
    folds[:, -1] = folds[:, 0]
    outside = np.clip(np.arange(len(radius)) / len(rings), 0, 1)[:, None]
    # Layers that the skin pushes out stay apart, the later ones outside.
    close = CLOSE_MM + 0.8 * np.minimum(np.arange(len(radius)), len(rings))[:, None]
    radius = np.maximum(radius + folds * outside, neck.outside(height) + close)
    vertices = neck.vertices(radius, height)
    uv = grid_uv(len(radius), AROUND) * np.array([rng.uniform(1, 6), rng.uniform(1, 3)], np.float32)
    mesh = (vertices, uv, grid_triangles(len(radius), AROUND))
    # Most clothes are less colourful than chance.
    colour = rng.beta(0.8, 0.9) + rng.beta(1.0, 2.5) * (rng.random(3) - 0.5)
    return prop_of(mesh, CLOTHES_PART, colour, _fabric(rng), gloss=float(rng.uniform(0.0, 0.06)))


class _Neck:
    """A neck about a vertical axis.

    :ivar axis: (2,) x and z of the axis, mm.
    :ivar chin: y of the neutral chin; ``lowest`` that of the head at hand, whose mouth may be open.
    :ivar angle: (AROUND,) radians, 0 in front, from nape to nape.
    :ivar table: (HEIGHTS, AROUND) largest radius of neck and shoulders, 0 where there is nothing.
    """

    def __init__(self, head: Array, body: Array, axis: Array, chin: float, lowest: float) -> None:
        self.axis, self.chin, self.lowest = axis, chin, lowest
        self.angle = np.linspace(-math.pi, math.pi, AROUND)
        aside, away = head[body, 0] - axis[0], axis[1] - head[body, 2]
        row = ((head[body, 1] - chin) / HEIGHT_MM).astype(int)
        column = np.rint((np.arctan2(aside, away) + math.pi) / (2 * math.pi) * (AROUND - 1)).astype(int)
        inside = (row >= 0) & (row < HEIGHTS)
        table = np.zeros((HEIGHTS, AROUND), np.float32)
        np.maximum.at(table, (row[inside], column[inside]), np.hypot(aside, away)[inside])
        table[:, 0] = table[:, -1] = np.maximum(table[:, 0], table[:, -1])
        wrapped = np.concatenate([table[:, -4:-1], table, table[:, 1:4]], axis=1)
        self.table = cv2.dilate(wrapped, np.ones((3, 5), np.uint8))[:, 3:-3]

    @classmethod
    def of(cls, model: HeadModel, head: Array) -> _Neck | None:
        """The neck of a head; ``None`` where the model ends above it."""
        body = (np.arange(len(model.mean)) < model.outer_end) & ~model.face
        if not model.face.any():
            return None
        # Without the throat, which some models' faces go down to.
        front = model.face & (model.mean[:, 2] < model.mean[model.face, 2].min() + CHIN_BEHIND_NOSE)
        chin = float(model.mean[front, 1].max())
        below = model.mean[:, 1] - chin
        ring = body & (below > NECK_BELOW_CHIN[0]) & (below < NECK_BELOW_CHIN[1])
        # What hangs under the chin is before the neck.
        ring &= model.mean[:, 2] > model.mean[model.face, 2].min() + 40.0
        if ring.sum() < FEWEST:
            return None
        axis = (head[ring].min(axis=0) + head[ring].max(axis=0))[[0, 2]] / 2
        lowest = float(head[front, 1].max())
        return cls(head, np.flatnonzero(body & (below > 0)), axis, chin, lowest)

    def outside(self, height: Array) -> Array:
        """Radius (rows, AROUND) of the skin at heights (rows, AROUND), 0 where there is none."""
        row = np.clip((height - self.chin) / HEIGHT_MM, 0, HEIGHTS - 1).astype(int)
        return np.where(height < self.chin + HEIGHTS * HEIGHT_MM, self.table[row, np.arange(AROUND)], 0)

    def follow(self, rings: Array, base: float) -> tuple[Array, Array]:
        """Radius and height (rows, AROUND) of rings (rows, 2) round the neck."""
        around = self.table[1:4].astype(np.float64)
        around = np.where(around > 0, around, np.nan)
        skin = np.nanmin(around, axis=0) if np.isfinite(around).any(axis=0).all() else np.full(AROUND, 60.0)
        skin = cv2.blur(np.tile(skin, (1, 3)), (9, 1))[0, AROUND : 2 * AROUND]
        skin[0] = skin[-1] = (skin[0] + skin[-1]) / 2
        radius = skin + rings[:, :1]
        height = base + rings[:, 1:] + LEAN * -np.cos(self.angle) * skin
        in_front = np.cos(self.angle) > 0.4
        return radius, np.where(in_front, np.maximum(height, self.lowest + 4.0), height)

    def shoulders(self, rng: Generator, radius: Array, height: Array) -> tuple[Array, Array]:
        """Radius and height (steps, AROUND) from the collar's last ring to the chest."""
        half = rng.uniform(185, 240)
        wide, deep = half * BUILD[0], half * BUILD[1]
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        trunk = 1 / ((np.abs(sine) / wide) ** 2.6 + (np.abs(cosine) / deep) ** 2.6) ** (1 / 2.6)
        share = np.linspace(0, 1, SHOULDER_STEPS + 1)[1:, None]
        slope = rng.uniform(28, 60)
        level = height * (1 - share) + height.mean() * share
        out = radius + (np.maximum(trunk, radius + 20) - radius) * np.sin(share * math.pi / 2)
        return out, level + slope * share + 150 * np.clip(share - 0.55, 0, 1) ** 1.5 * 2.2

    def vertices(self, radius: Array, height: Array) -> Array:
        """(rows * AROUND, 3) mm, head frame."""
        x = self.axis[0] + radius * np.sin(self.angle)
        z = self.axis[1] - radius * np.cos(self.angle)
        return np.stack([x, height, z], axis=-1).reshape(-1, 3)


def _turtleneck(rng: Generator) -> tuple[list[Ring], float]:
    top = -rng.uniform(18, 34)
    rings = [(2.5, top + 14), (3.0, top), (6.0, top)]
    if rng.random() < 0.5:
        turned = rng.uniform(14, 26)
        rings += [(9.0, top + 5), (10.0, top + turned), (6.0, top + turned + 2)]
    return [*rings, (6.0, top * 0.4), (6.0, 2.0), (9.0, 8.0)], 0.0


def _crew(rng: Generator) -> tuple[list[Ring], float]:
    """A T-shirt or jumper; the opening is a V or a scoop."""
    out, thick = rng.uniform(3, 12), rng.uniform(1.5, 5)
    rings = [(out, 8.0), (out, 0.0), (out + thick, 0.0), (out + thick + 6, 10.0), (out + thick + 8, 14.0)]
    return rings, float(rng.choice([0.0, rng.uniform(10, 90)]))


def _shirt(rng: Generator) -> tuple[list[Ring], float]:
    """A collar that stands and is folded over."""
    stand, leaf = rng.uniform(16, 28), rng.uniform(22, 40)
    rings = [(4.0, 6.0), (5.0, -stand * 0.5), (5.5, -stand), (8.0, -stand), (12.0, -stand + leaf * 0.4)]
    rings += [
        (18.0, -stand + leaf),
        (14.0, -stand + leaf + 1),
        (10.0, -stand + leaf - 4),
        (11.0, 10.0),
        (14.0, 14.0),
    ]
    return rings, float(rng.uniform(5, 60))


def _roll(middle: Ring, thick: float) -> list[Ring]:
    """Half a roll of cloth, from its inside over its top to its outside."""
    angle = np.linspace(-0.6, math.pi, 8)
    return [(middle[0] - thick * math.cos(a), middle[1] - thick * math.sin(a)) for a in angle]


def _hood(rng: Generator) -> tuple[list[Ring], float]:
    thick = rng.uniform(9, 20)
    rings = _roll((thick + rng.uniform(2, 12), -rng.uniform(0, 10)), thick)
    return [*rings, (rings[-1][0] - 3, 14.0), (rings[-1][0] + 4, 20.0)], float(rng.uniform(0, 40))


def _scarf(rng: Generator) -> tuple[list[Ring], float]:
    rings: list[Ring] = []
    level, out = -rng.uniform(10, 26), rng.uniform(3, 8)
    for _ in range(int(rng.integers(1, 4))):
        thick = rng.uniform(8, 15)
        rings += _roll((out + thick, level), thick)
        level, out = level + thick * rng.uniform(1.2, 1.8), out + rng.uniform(2, 6)
    return [*rings, (rings[-1][0] - 6, level + 10), (rings[-1][0], level + 16)], 0.0


STYLES: tuple[Callable[[Generator], tuple[list[Ring], float]], ...] = (
    _crew, _shirt, _turtleneck, _hood, _scarf,
)  # fmt: skip
"""Each gives the rings from the collar's inside to where the shoulders begin, and by how much it is open in
front, mm."""

SHARES = (0.38, 0.22, 0.12, 0.18, 0.10)


def _fabric(rng: Generator) -> Array:
    """(64, 64, 3) uint8 weave near white, sometimes striped."""
    side = 64
    picture = (
        0.85 + 0.04 * rng.standard_normal((side, side, 1)) + 0.04 * smooth_noise(rng, side, 6)[..., None]
    )
    picture = np.repeat(picture, 3, axis=2)
    if rng.random() < 0.3:
        lines = np.arange(side) % int(rng.choice([8, 16, 32])) < rng.integers(2, 12)
        striped = lines[:, None] if rng.random() < 0.6 else lines[None, :]
        picture *= np.where(striped[..., None], rng.uniform(0.2, 1.1, 3), 1.0)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)
