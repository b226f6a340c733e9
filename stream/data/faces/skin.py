"""Skin: tones over the Fitzpatrick range, albedo without a photo, and a photo's own light taken away."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from stream.data.faces.lighting import basis
from stream.data.skin_tone import fitzpatrick_type
from stream.types import Array

TONES = (
    (0.92, 0.78, 0.70), (0.88, 0.70, 0.59), (0.79, 0.59, 0.46), (0.67, 0.47, 0.34), (0.50, 0.33, 0.23),
    (0.33, 0.22, 0.16),
)  # fmt: skip
"""A typical display colour (sRGB, 0..1) of skin of Fitzpatrick's types I to VI."""

DARKEST, BRIGHTEST = 0.5, 2.0
"""Limits of what is done against a photo's light at one place."""

FIT_ROUNDS = 3
HARMONICS_PRIOR = 4.0
"""Holds the fitted light's shape back: it is seen from one side only."""

WAVES = 24


def display_angle(colour: Array) -> float:
    """Individual typology angle, degrees, of a display colour (3,) in 0..1 as the engine's shaders show it.

    Their gamma is 2.2 and not sRGB's curve, so it can differ by up to 3 degrees from
    `stream.data.skin_tone.typology_angle`. It decides which photos' skin is given another tone: another
    curve would draw other pictures.
    """
    linear = np.asarray(colour, np.float64) ** 2.2
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    white = np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz / white > 0.008856, np.cbrt(xyz / white), 7.787 * xyz / white + 16 / 116)
    lightness, yellow = 116 * f[1] - 16, 200 * (f[1] - f[2])
    return math.degrees(math.atan2(lightness - 50, max(yellow, 1e-3)))


def fitzpatrick(colour: Array) -> int:
    """Fitzpatrick's type, 1 to 6, of a skin's display colour (3,) in 0..1, by its `display_angle`."""
    return fitzpatrick_type(display_angle(colour))


def draw_tone(rng: Generator, kind: int) -> Array:
    """A display colour (3,) of skin of type ``kind`` (1 to 6)."""
    colour = np.array(TONES[kind - 1]) * math.exp(rng.normal(0, 0.06)) * (1 + rng.normal(0, 0.025, 3))
    return np.clip(colour, 0.05, 0.97)


def photo_gain(colours: Array, normals: Array, weight: Array, skin: Array) -> Array:
    """Factor (n,) per vertex that takes a photo's own light out of its linear colours.

    One albedo and one environment (spherical harmonics up to order two) are fitted to the brightness of the
    skin, outliers such as brows counting less; the factor is the mean light over that at the vertex.

    :param colours: (n, 3) linear; ``normals`` (n, 3) unit, camera frame; ``weight`` (n,) 0..1, how well seen.
    :param skin: (n,) bool, places that are likely plain skin.
    """
    bright = colours.mean(axis=1)
    use = skin & (weight > 0.3)
    if use.sum() < 50:
        return np.ones(len(colours), np.float32)
    functions = basis(normals)
    typical = float(np.median(bright[use]))
    if typical < 1e-4:
        return np.ones(len(colours), np.float32)
    target, rows = bright[use] / typical, functions[use]
    trust = weight[use].astype(np.float64)
    prior = np.r_[1e-3, np.full(8, HARMONICS_PRIOR)]
    for _ in range(FIT_ROUNDS):
        weighted = rows * trust[:, None]
        light = np.linalg.solve(weighted.T @ rows + np.diag(prior), weighted.T @ target)
        error = np.abs(rows @ light - target)
        trust = weight[use] / (1 + (error / 0.15) ** 2)
    shade = np.maximum(functions @ light, 0.05)
    middle = float(np.median(shade[use]))
    return np.clip(middle / shade, DARKEST, BRIGHTEST).astype(np.float32)


def noise_at(rng: Generator, points: Array, size: float) -> Array:
    """Smooth random values (n,) about 0 with deviation 1 at points (n, 3) mm; features about ``size`` mm."""
    waves = rng.normal(0, 1 / size, (3, WAVES)).astype(np.float32)
    phase = rng.uniform(0, 2 * math.pi, WAVES).astype(np.float32)
    values = np.cos(points.astype(np.float32) @ waves + phase).sum(axis=1)
    return np.asarray(values * math.sqrt(2 / WAVES))


def painted_skin(rng: Generator, points: Array, landmarks: Array, tone: Array, brows: Array) -> Array:
    """Display colours (n, 3) in 0..1 of a face no photo is needed for.

    :param points: (n, 3) mm of the outside on the mean head; ``landmarks`` (478, 3) mm on the same head.
    :param tone: (3,) the skin's display colour.
    :param brows: (n,) 0..1 where the brows grow.
    """
    colour = np.tile(tone, (len(points), 1))
    colour *= 1 + 0.04 * noise_at(rng, points, 25.0)[:, None] + 0.03 * noise_at(rng, points, 5.0)[:, None]
    red = np.array([0.05, -0.05, -0.04]) * rng.uniform(0.2, 1.3)
    for place, reach in (((50, 280), 16.0), ((4,), 10.0), ((2,), 8.0)):
        for landmark in place:
            colour += red * _near(points, landmarks[landmark], reach)[:, None]
    lips = np.clip(tone * [0.86, 0.62, 0.60] * rng.uniform(0.8, 1.05), 0, 1)
    colour = _blend(colour, lips, _lips(points, landmarks) * rng.uniform(0.5, 1.0))
    lids = np.maximum(_near(points, landmarks[159], 9.0), _near(points, landmarks[386], 9.0))
    colour = _blend(colour, tone * 0.78, lids * rng.uniform(0.1, 0.6))
    if rng.random() < 0.3:
        freckles = noise_at(rng, points, 1.5) > 2.0
        colour = _blend(colour, tone * [0.75, 0.62, 0.55], freckles * rng.uniform(0.2, 0.7))
    hair = tone * rng.uniform(0.12, 0.6)
    return np.clip(_blend(colour, hair, brows * rng.uniform(0.4, 0.95)), 0.02, 0.98)


def _near(points: Array, centre: Array, reach: float) -> Array:
    return np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * reach**2))


def _lips(points: Array, landmarks: Array) -> Array:
    """(n,) 0..1, 1 between the outer lip line and the mouth, by the distance to the lip ring's points."""
    ring = landmarks[[0, 37, 39, 40, 267, 269, 270, 17, 84, 181, 91, 314, 405, 321, 13, 14, 82, 312, 87, 317]]
    nearest = np.sqrt(((points[:, None] - ring[None]) ** 2).sum(axis=2).min(axis=1))
    return np.clip((5.5 - nearest) / 3.0, 0, 1)


def _blend(colour: Array, other: Array, share: Array) -> Array:
    return colour * (1 - share[:, None]) + other * share[:, None]
