"""What is behind the head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from stream.types import Array


def draw_background(rng: Generator, photo: Array, side: int) -> Array:
    """(side, side, 3) uint8 picture: a wall, soft noise, furniture, or a piece of ``photo``."""
    kind = rng.random()
    if kind < 0.2:
        corners = np.clip(rng.random(3) * 255 + rng.normal(0, 25, (2, 2, 3)), 0, 255).astype(np.float32)
        picture = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    elif kind < 0.35:
        cells = int(rng.integers(3, 24))
        noise = np.clip(rng.random(3) * 255 + rng.normal(0, 45, (cells, cells, 3)), 0, 255).astype(np.float32)
        picture = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    elif kind < 0.55:
        picture = _furniture(rng, side)
    else:
        size = int(rng.integers(60, len(photo)))
        left, top = rng.integers(0, len(photo) - size, 2)
        piece = photo[top : top + size, left : left + size]
        piece = piece[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        picture = cv2.resize(np.ascontiguousarray(piece), (side, side), interpolation=cv2.INTER_LINEAR)
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), float(np.exp(rng.uniform(-1, 2.6))))
        picture = picture * rng.uniform(0.5, 1.2)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _furniture(rng: Generator, side: int) -> Array:
    """Upright and level boxes of plain colours, as of shelves, doors and windows, a little out of focus."""
    picture = np.full((side, side, 3), rng.random(3) * 255, np.float32)
    for _ in range(rng.integers(3, 16)):
        left, top = (int(v) for v in rng.integers(-side // 3, side, 2))
        width, height = (int(v) for v in rng.integers(side // 24, side // 2, 2))
        box = rng.random(3) * 255
        cv2.rectangle(picture, (left, top), (left + width, top + height), box.tolist(), -1)
    return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 5)))
