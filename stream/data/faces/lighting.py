"""Light on synthetic heads: an environment as spherical harmonics, and up to two lights, one with a shadow.

All colours are linear. Irradiance by spherical harmonics up to order two follows Ramamoorthi and Hanrahan,
"An efficient representation for irradiance environment maps", SIGGRAPH 2001.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from stream.types import Array

BANDS = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
"""What the cosine lobe leaves of each order, over pi."""

OWN_LIGHT_SHARE = 0.15
"""Samples that keep the light their photo was taken in."""

ENVIRONMENT_SIDE = 16


@dataclass(frozen=True, slots=True)
class Lighting:
    """Light in the camera frame.

    :ivar harmonics: (9, 3) float32 irradiance over pi in the basis of `basis`.
    :ivar lights: (2, 4) float32: direction to a light and 0, or its place in mm and 1.
    :ivar colours: (2, 3) float32 linear, at the face.
    :ivar exposure: factor from linear radiance to what the display shows before its gamma.
    :ivar softness: of the first light's shadow, texels.
    :ivar own: 1 where the photo keeps the light it was taken in, else 0.
    """

    harmonics: Array
    lights: Array
    colours: Array
    exposure: float
    softness: float
    own: float

    def without_own(self) -> Lighting:
        """The same for a head that no photo is on."""
        return replace(self, own=0.0)


def basis(normals: Array) -> Array:
    """Real spherical harmonics up to order two (..., 9) at unit vectors (..., 3)."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x,
            1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )  # fmt: skip


def environment_harmonics(picture: Array) -> Array:
    """(9, 3) irradiance of a surrounding that looks like ``picture`` (H, W, 3) uint8 in front and behind.

    The picture is taken as an equal-area map of the directions with z < 0 (towards the camera), and its
    mirror image, dimmer, as those with z > 0: a room that a camera's own picture stands for.
    """
    small = cv2.resize(picture, (ENVIRONMENT_SIDE, ENVIRONMENT_SIDE), interpolation=cv2.INTER_AREA)
    radiance = (small.astype(np.float64) / 255) ** 2.2
    axis = (2 * np.arange(ENVIRONMENT_SIDE) + 1) / ENVIRONMENT_SIDE - 1
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 < 1
    # Lambert's azimuthal equal-area projection of the hemisphere around -z.
    r2 = (x**2 + y**2)[inside]
    scale = np.sqrt(np.maximum(2 - r2, 0))
    front = np.column_stack([x[inside] * scale, y[inside] * scale, r2 - 1])
    colours = radiance[inside]
    directions = np.concatenate([front, front * [1, 1, -1]])
    both = np.concatenate([colours, colours * 0.6])
    return project_harmonics(directions, both)


def project_harmonics(directions: Array, radiance: Array) -> Array:
    """(9, 3) irradiance over pi of radiance (n, 3) seen in directions (n, 3) that share the sphere evenly."""
    weight = 4 * np.pi / len(directions)
    return BANDS[:, None] * (basis(directions).T @ radiance) * weight


def draw_lighting(rng: Generator, picture: Array, head: Array) -> Lighting:
    """Light of an ordinary room, street or screen.

    :param picture: (H, W, 3) uint8, what an image-based environment looks like.
    :param head: (3,) the face's place, mm, camera frame.
    """
    harmonics = environment_harmonics(picture) if rng.random() < 0.5 else _plain_environment(rng)
    level = max(float(np.mean(harmonics[0] * 0.282095)), 1e-3)
    harmonics = harmonics * (rng.uniform(0.2, 1.0) / level)
    lights, colours = np.zeros((2, 4)), np.zeros((2, 3))
    for i, share in enumerate((0.8, 0.5)):
        if rng.random() < share:
            lights[i], colours[i] = _draw_light(rng, head, key=i == 0)
        else:
            lights[i, 2] = -1.0
    # As bright as the albedo itself where the surface looks at the camera; the exposure varies that.
    front = basis(np.array([0.0, 0.0, -1.0])) @ harmonics
    facing = np.array([max(-_towards(light, head)[2], 0.2) for light in lights])
    bright = max(float((front + facing @ colours).mean()), 0.05)
    wild = rng.random() < 0.12
    return Lighting(
        (harmonics / bright).astype(np.float32),
        lights.astype(np.float32),
        (colours / bright).astype(np.float32),
        float(np.exp(rng.normal(0.0, 0.7 if wild else 0.25))),
        float(rng.uniform(0.5, 4.0)),
        float(rng.random() < OWN_LIGHT_SHARE),
    )


def light_numbers(lighting: Lighting) -> Array:
    """(42,) float32 that describe a lighting: harmonics, lights, colours and exposure."""
    parts = (lighting.harmonics, lighting.lights, lighting.colours, np.array([lighting.exposure]))
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)


def _plain_environment(rng: Generator) -> Array:
    """Even light with a brighter side, mostly from above."""
    colour = temperature(rng.uniform(3000, 8500))
    side = rng.normal([0.0, -0.3, -0.2], 0.35)
    second = rng.normal(0, 0.06, 5)
    shape = np.concatenate([[1.0], np.array([side[1], side[2], side[0]]) * 0.5, second])
    return shape[:, None] * colour * (1 + rng.normal(0, 0.05, (9, 3)))


def _draw_light(rng: Generator, head: Array, key: bool) -> tuple[Array, Array]:
    """A lamp, a window, the sun or a screen: (4,) and its colour (3,)."""
    colour = temperature(rng.uniform(2600, 9000)) * rng.uniform(0.3, 1.6 if key else 0.7)
    if rng.random() < 0.15:
        # A screen, just under the camera.
        return np.array([*rng.normal([0, 120], 60), 20.0, 1.0]), colour * 0.6
    direction = rng.normal(0, 1.0, 3) * [1.0, 0.6, 0.7] + [0.0, -0.5, -0.6]
    direction /= np.linalg.norm(direction)
    if rng.random() < 0.4:
        return np.array([*(head + direction * rng.uniform(300, 1500)), 1.0]), colour
    return np.array([*direction, 0.0]), colour


def _towards(light: Array, head: Array) -> Array:
    """Unit direction (3,) from the head to a light (4,)."""
    away = light[:3] - head if light[3] > 0.5 else light[:3]
    return np.asarray(away / max(np.linalg.norm(away), 1e-6))


def light_direction(lighting: Lighting, head: Array) -> Array:
    """Unit direction (3,) from the head to the light that casts the shadow."""
    return _towards(lighting.lights[0], head)


def temperature(kelvin: float) -> Array:
    """(3,) linear RGB of a black body, green 1 at 6500 K: blue over red follows Tanner Helland's fit."""
    t = kelvin / 100
    red = 1.0 if t <= 66 else 1.292936 * (t - 60) ** -0.1332047592
    green = (0.39008158 * np.log(t) - 0.63184144) if t <= 66 else 1.12989086 * (t - 60) ** -0.0755148492
    blue = 1.0 if t >= 66 else 0.54320679 * np.log(t - 10) - 1.19625409
    display = np.clip([red, green, blue], 0.05, 1.0)
    return np.asarray((display / display[1]) ** 2.2)
