"""What a webcam does to a picture, done to the training samples.

All on uint8 with OpenCV and lookup tables, so that one thread keeps up with training on two cores.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from stream.data.shards import MASK_KNOWN, OCCLUDER, Samples
from stream.training.settings import AugmentSettings
from stream.types import Array

SMALLEST = 40
"""Pixels across the crop of the coarsest picture: a face that is far away or in a tiny clip."""

_NOISE_POOL = np.random.default_rng(0).standard_normal((384, 384, 3)).astype(np.float32)


class Augmenter:
    """Changes samples at random; the same generator state gives the same change."""

    def __init__(self, settings: AugmentSettings) -> None:
        self._settings = settings

    def __call__(self, samples: Samples, rng: np.random.Generator) -> None:
        """Change a batch in place; labels follow."""
        self.mirror(samples, rng)
        self.degrade(samples, rng)

    def mirror(self, samples: Samples, rng: np.random.Generator) -> None:
        """Mirror some of a batch left to right, in place."""
        for row in np.flatnonzero(rng.random(len(samples)) < self._settings.flip):
            flip(samples, int(row))

    def degrade(self, samples: Samples, rng: np.random.Generator) -> None:
        """Hold things before the faces of a batch, and spoil its pictures as a webcam would, in place."""
        for row in range(len(samples)):
            if rng.random() < self._settings.occluder:
                donor = samples.image[int(rng.integers(len(samples)))]
                occlude(samples.image[row], samples.flags[row], donor, rng)
            samples.image[row] = self._picture(samples.image[row], rng)

    def _picture(self, image: Array, rng: np.random.Generator) -> Array:
        """In the order of a camera: light, lens, sensor, scaling, compression."""
        settings = self._settings
        if rng.random() < settings.colour:
            image = colour(image, rng)
        if rng.random() < settings.grey:
            image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        if rng.random() < settings.blur:
            image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.5)) * image.shape[0] / 128)
        if rng.random() < settings.motion:
            image = motion_blur(image, rng)
        if rng.random() < settings.noise:
            image = noise(image, rng)
        if rng.random() < settings.low_resolution:
            image = low_resolution(image, rng)
        if rng.random() < settings.jpeg:
            image = jpeg(image, rng)
        return image


def flip(samples: Samples, row: int) -> None:
    """Mirror one sample left to right, in place: picture, maps, yaw, line of sight, crop and camera.

    The camera is mirrored about its image's column 0, which keeps all of these consistent. Landmarks,
    identity and expression stay as they were; training does not look at them.
    """
    for name in ("image", "depth", "normal", "flags"):
        array = getattr(samples, name)[row]
        array[:] = array[:, ::-1].copy()
    np.negative(samples.normal[row, ..., 0], out=samples.normal[row, ..., 0])
    samples.yaw[row] *= -1
    samples.sight[row, 0] *= -1
    samples.camera[row, 2] *= -1  # cx
    samples.crop[row, 0] *= -1
    samples.crop[row, 3] *= -1  # angle


def colour(image: Array, rng: np.random.Generator) -> Array:
    """White balance, exposure, contrast, gamma and saturation; one time in six far off."""
    reach = 2.2 if rng.random() < 1 / 6 else 1.0
    gains = np.exp(rng.normal(0.0, 0.08, 3) + rng.normal(0.0, 0.15 * reach))
    gamma = math.exp(rng.normal(0.0, 0.18 * reach))
    contrast = math.exp(rng.normal(0.0, 0.12 * reach))
    levels = np.linspace(0.0, 1.0, 256)[:, None] ** gamma
    table = ((levels * gains) - 0.5) * contrast + 0.5 + rng.normal(0.0, 0.03 * reach)
    table = np.clip(table * 255.0, 0, 255).astype(np.uint8)
    changed = cv2.LUT(image, table[:, None, :])
    if rng.random() < 0.4:
        grey = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        amount = float(rng.uniform(0.3, 1.4))
        changed = cv2.addWeighted(changed, amount, grey, 1 - amount, 0)
    return changed


def motion_blur(image: Array, rng: np.random.Generator) -> Array:
    """Blur along a random line of 2.5 to 7 % of the side."""
    length = max(3, round(float(rng.uniform(0.025, 0.07)) * image.shape[0]))
    angle = float(rng.uniform(0, math.pi))
    reach = (length - 1) / 2
    along = np.array([math.cos(angle), math.sin(angle)]) * reach
    kernel = np.zeros((length, length), np.float32)
    ends = [tuple(int(v) for v in np.round(reach + sign * along)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noise(image: Array, rng: np.random.Generator) -> Array:
    """Gaussian sensor noise of 1 to 16 grey levels, sometimes coarse, drawn from a fixed pool."""
    size = image.shape[0]
    step = 2 if rng.random() < 0.3 else 1
    cells = -(-size // step)
    top, left = rng.integers(0, _NOISE_POOL.shape[0] - cells, 2)
    grain = _NOISE_POOL[top : top + cells, left : left + cells]
    if step > 1:
        grain = cv2.resize(grain, (size, size), interpolation=cv2.INTER_LINEAR)
    sigma = math.exp(rng.uniform(0.0, math.log(16.0)))
    return np.clip(image + grain * sigma, 0, 255).astype(np.uint8)


def low_resolution(image: Array, rng: np.random.Generator) -> Array:
    """Shrink to `SMALLEST` pixels or more, and back."""
    size = image.shape[0]
    small = int(rng.integers(min(SMALLEST, size // 2), size))
    down = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    back = cv2.INTER_CUBIC if rng.random() < 0.3 else cv2.INTER_LINEAR
    return cv2.resize(down, (size, size), interpolation=back)


def jpeg(image: Array, rng: np.random.Generator) -> Array:
    """Compress with a quality of 25 to 90 and decode."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 91))])
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)


def occlude(image: Array, flags: Array, donor: Array, rng: np.random.Generator) -> None:
    """Lay a blob or a bar over a part of the picture, in place.

    What it covers is an occluder of unknown depth: the mask learns to cut it out.
    """
    size = image.shape[0]
    shape = np.zeros((size, size), np.uint8)
    cv2.fillPoly(shape, [_outline(size, rng)], 255)
    covered = shape > 0
    image[covered] = _filling(size, donor, rng)[covered]
    flags[covered] = MASK_KNOWN | OCCLUDER


def _outline(size: int, rng: np.random.Generator) -> Array:
    """(K, 2) int32 outline of a wobbly, stretched and turned ellipse that enters from somewhere."""
    corners = int(rng.integers(6, 14))
    around = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    radius = rng.uniform(0.7, 1.3, corners) * size * rng.uniform(0.08, 0.3)
    stretch = rng.uniform(0.3, 1.0)
    turn = rng.uniform(0, math.pi)
    x, y = radius * np.cos(around), radius * np.sin(around) * stretch
    centre = rng.uniform(-0.1, 1.1, 2) * size
    c, s = math.cos(turn), math.sin(turn)
    return np.stack([c * x - s * y + centre[0], s * x + c * y + centre[1]], axis=1).round().astype(np.int32)


def _filling(size: int, donor: Array, rng: np.random.Generator) -> Array:
    """(S, S, 3) uint8: another picture shifted about, a shaded plain colour, or coarse noise."""
    choice = rng.random()
    if choice < 0.4:
        return np.roll(donor, rng.integers(0, size, 2), axis=(0, 1))
    base = rng.uniform(0, 255, 3)
    if choice < 0.6:
        # The colour of a hand: skin of the same picture, seen at its centre.
        base = donor[size // 3 : 2 * size // 3, size // 3 : 2 * size // 3].reshape(-1, 3).mean(axis=0)
    cells = int(rng.integers(2, 9))
    grain = rng.normal(0.0, 25.0, (cells, cells, 1)) + rng.normal(0.0, 6.0, (cells, cells, 3))
    coarse = np.clip(base + grain, 0, 255).astype(np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
