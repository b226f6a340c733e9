"""Glasses, fitted to a head by its landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.data.faces.correspond import FACE_LANDMARKS
from stream.data.faces.prop import GLASSES_PART, Prop
from stream.data.faces.shapes import (
    grid_triangles,
    grid_uv,
    joined,
    prop_of,
    rounded_section,
    tinted_noise,
    tube,
)
from stream.types import Array

RIGHT_EYE, LEFT_EYE = (33, 133, 159, 145), (263, 362, 386, 374)
"""Outer corner, inner corner and the middles of the lids."""

NOSE_ROOT, NOSE_UPPER = 168, 6
BROWS = (105, 334)
TEMPLES, CHEEKBONES = (127, 356), (234, 454)

AROUND = 40
"""Points round a rim."""

NOSE_HALF = 7.5
"""Half the width (mm) that the rims leave to the nose."""

DARK_SHARE = 0.2
"""How often glasses are sunglasses; clear lenses are not drawn: behind them the face is what is seen."""

HEAD_WIDENS, EAR_BEHIND = 1.15, 33.0
"""The head's width at the ears over that at the landmarks before them, and how much farther back (mm) the
ears' upper roots are."""


@dataclass(frozen=True, slots=True)
class _Style:
    """Outline of one lens: exponents of a superellipse's upper and lower half, height over width, how much
    narrower it is below on the nose's side, and whether the lower half has a rim."""

    upper: float
    lower: float
    height: float
    taper: float
    below: bool


STYLES = (
    _Style(2.0, 2.0, 0.93, 0.0, True),
    _Style(3.6, 3.2, 0.62, 0.05, True),
    _Style(3.0, 2.2, 0.80, 0.14, True),
    _Style(2.6, 1.9, 0.90, 0.22, True),
    _Style(3.4, 2.4, 0.66, 0.08, False),
)
"""Round, rectangular, wayfarer, aviator, half-rim."""

COLOURS = (
    (0.02, 0.02, 0.02), (0.05, 0.04, 0.04), (0.16, 0.08, 0.04), (0.30, 0.17, 0.08), (0.55, 0.55, 0.57),
    (0.72, 0.55, 0.25), (0.35, 0.05, 0.06), (0.07, 0.12, 0.30), (0.85, 0.83, 0.80),
)  # fmt: skip


def draw_glasses(rng: Generator, landmarks: Array) -> list[Prop]:
    """Random glasses on a head: the frame, and the lenses where they are dark.

    :param landmarks: (478, 3) mm, head frame, MediaPipe's points on the head.
    """
    style = STYLES[rng.integers(len(STYLES))]
    metal = rng.random() < 0.4
    thick = rng.uniform(1.5, 2.4) if metal else rng.uniform(2.2, 6.0)
    deep = rng.uniform(1.5, 2.4) if metal else rng.uniform(2.5, 4.5)
    outlines = _outlines(rng, style, landmarks, thick)
    section = rounded_section(thick, deep, 8, 1.0 if metal else 0.5)
    bend = rng.uniform(0.0006, 0.0022), math.radians(rng.uniform(3, 11))
    rims = [_bent(outline, bend) for outline in outlines]
    shift = _seat(np.concatenate(rims), landmarks, rng.uniform(10, 18), deep)
    rims = [rim + shift for rim in rims]
    parts = [_rim(rim, section, style.below) for rim in rims]
    parts.append(_bridge(rims, landmarks, section, thick))
    parts += [
        _temple(rng, rim, landmarks, side, thick, metal) for rim, side in zip(rims, (-1, 1), strict=True)
    ]
    colour = np.array(COLOURS[rng.integers(len(COLOURS))]) if rng.random() < 0.85 else rng.random(3)
    mottled = tinted_noise(rng, 64, float(rng.uniform(0.1, 0.5))) if rng.random() < 0.2 else None
    props = [prop_of(joined(parts), GLASSES_PART, colour, mottled, gloss=float(rng.uniform(0.2, 0.9)))]
    if rng.random() < DARK_SHARE:
        tint = rng.uniform(0.02, 0.12) * (1 + rng.normal(0, 0.2, 3))
        lenses = joined([_lens(rim, rng.uniform(0.5, 2.0)) for rim in rims])
        props.append(prop_of(lenses, GLASSES_PART, tint, gloss=1.0))
    return props


def _outlines(rng: Generator, style: _Style, landmarks: Array, thick: float) -> list[Array]:
    """Middle lines (AROUND, 2) of the right and the left rim, x and y in mm; both are alike, mirrored."""
    eyes = np.stack([landmarks[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE)])
    middle = landmarks[NOSE_ROOT, 0]
    half_distance = (eyes[1, 0] - eyes[0, 0]) / 2
    room = half_distance - NOSE_HALF - thick / 2
    half = float(np.clip(rng.normal(24.5, 2.2), 19, 29))
    half = min(half, room + 2.0)
    centre_x = max(half + NOSE_HALF + thick / 2, half_distance * rng.uniform(0.98, 1.05))
    height = half * style.height * rng.uniform(0.88, 1.12)
    angle = np.linspace(0, 2 * math.pi, AROUND, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    power = 2 / np.where(sine < 0, style.upper, style.lower)
    x = np.sign(cosine) * np.abs(cosine) ** power * half
    y = np.sign(sine) * np.abs(sine) ** power * height
    # Towards the nose (x < 0 of the left lens) the lower half gives way to it.
    x = x + style.taper * np.clip(y, 0, None) * np.where(x < 0, 1.0, -0.4)
    y = y + rng.uniform(-0.02, 0.10) * -x
    line = eyes[:, 1].mean() + rng.uniform(0.5, 5.0)
    left = np.stack([x + centre_x, y + line], axis=1)
    return [left * [-1, 1] + np.array([middle, 0]), left + np.array([middle, 0])]


def _bent(outline: Array, bend: tuple[float, float]) -> Array:
    """(AROUND, 3) outline on the frame's curved and tilted front: back at the sides and at the bottom."""
    curve, tilt = bend
    z = curve * outline[:, 0] ** 2 + math.tan(tilt) * outline[:, 1]
    return np.column_stack([outline, z])


def _seat(rims: Array, landmarks: Array, distance: float, deep: float) -> Array:
    """(3,) shift along z that puts the lenses ``distance`` before the eyes and the rims before the skin."""
    skin = landmarks[:FACE_LANDMARKS]
    lids = landmarks[[RIGHT_EYE[2], RIGHT_EYE[3], LEFT_EYE[2], LEFT_EYE[3]]]
    front = rims[:, 2].mean()
    wanted = lids[:, 2].min() - distance - front
    apart = ((rims[:, None, :2] - skin[None, :, :2]) ** 2).sum(axis=-1)
    near = np.where(apart < 5.0**2, skin[None, :, 2] - rims[:, None, 2], np.inf)
    return np.array([0.0, 0.0, min(wanted, near.min() - deep / 2 - 0.5)])


def _rim(rim: Array, section: Array, below: bool) -> tuple[Array, Array, Array]:
    """A rim along its middle line; without its lower half unless ``below``."""
    centre = rim.mean(axis=0)
    outward = rim - centre
    outward[:, 2] = 0
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    if below:
        order = np.append(np.arange(len(rim)), 0)
    else:
        upper = np.flatnonzero(rim[:, 1] < centre[1] + 2.0)
        start = upper[np.argmax(np.diff(upper, append=upper[0] + len(rim)))] + 1
        order = (start + np.arange(len(rim))) % len(rim)
        order = order[np.isin(order, upper)]
    vertices = tube(rim[order], outward[order], np.tile([0.0, 0.0, 1.0], (len(order), 1)), section)
    rows = len(order)
    return vertices, grid_uv(rows, len(section)), grid_triangles(rows, len(section), around=True)


def _bridge(rims: list[Array], landmarks: Array, section: Array, thick: float) -> tuple[Array, Array, Array]:
    """From one rim to the other, over the nose."""
    inner = [
        rims[0][np.argmax(rims[0][:, 0] - 0.3 * np.abs(rims[0][:, 1] - rims[0][:, 1].mean() + 4))],
        rims[1][np.argmin(rims[1][:, 0] + 0.3 * np.abs(rims[1][:, 1] - rims[1][:, 1].mean() + 4))],
    ]
    t = np.linspace(0, 1, 9)[:, None]
    path = inner[0] * (1 - t) + inner[1] * t
    arch = np.sin(math.pi * t[:, 0])
    nose = landmarks[[NOSE_ROOT, NOSE_UPPER]]
    height = np.interp(path[4, 1], nose[:, 1], nose[:, 2])
    path[:, 2] += arch * min(0.0, height - thick / 2 - 1.0 - path[4, 2])
    path[:, 1] -= arch * 2.0
    across = np.tile([0.0, 1.0, 0.0], (9, 1))
    vertices = tube(path, across, np.tile([0.0, 0.0, 1.0], (9, 1)), section)
    return vertices, grid_uv(9, len(section)), grid_triangles(9, len(section), around=True)


def _temple(
    rng: Generator, rim: Array, landmarks: Array, side: int, thick: float, metal: bool
) -> tuple[Array, Array, Array]:
    """From the rim's outer end back to the ear, and down behind it."""
    which = int(side > 0)
    top = rim[:, 1].min() + 0.3 * np.ptp(rim[:, 1])
    outer = rim[np.argmax(rim[:, 0] * side - 0.5 * np.abs(rim[:, 1] - top))]
    width = abs(landmarks[TEMPLES[which], 0] - landmarks[NOSE_ROOT, 0])
    middle = landmarks[NOSE_ROOT, 0]
    back = landmarks[CHEEKBONES[which], 2] + EAR_BEHIND
    hinge = np.array(
        [middle + side * max(width + 1.0, abs(outer[0] - middle) + 3.0), outer[1], outer[2] + 4.0]
    )
    ear_y = landmarks[TEMPLES[which], 1] - rng.uniform(4, 10)
    ear = np.array([middle + side * width * HEAD_WIDENS, ear_y, back])
    hook = ear + np.array([-side * 2.0, rng.uniform(18, 30), 16.0])
    ends = np.array([outer, hinge, (hinge + ear) / 2, ear, (ear + hook) / 2 + [0, -4, 4], hook])
    t = np.linspace(0, 1, 24)
    steps = np.append(0, np.cumsum(np.linalg.norm(np.diff(ends, axis=0), axis=1)))
    path = np.stack([np.interp(t * steps[-1], steps, ends[:, i]) for i in range(3)], axis=1)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(along, [side * 1.0, 0.2, 0.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    section = rounded_section(thick if metal else thick * rng.uniform(1.0, 2.2), min(thick, 3.0), 6)
    vertices = tube(path, across, np.cross(across, along), section)
    return vertices, grid_uv(24, 6), grid_triangles(24, 6, around=True)


def _lens(rim: Array, bulge: float) -> tuple[Array, Array, Array]:
    """A dark lens: rings from the rim to its middle, bulging forwards."""
    scale = np.array([1.0, 0.66, 0.33, 0.01])[:, None, None]
    centre = rim.mean(axis=0)
    rings = centre + (rim - centre) * scale
    rings[..., 2] -= bulge * (1 - scale[..., 0] ** 2)
    rows = len(scale)
    return rings.reshape(-1, 3), grid_uv(rows, len(rim)), grid_triangles(rows, len(rim), around=True)
