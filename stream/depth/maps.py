"""Maps of one size read at another."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from stream.types import Array, Depth


def resized(values: Array, side: int) -> Array:
    """A map (S, S) or (S, S, C) float32 at another side, read between its pixels' centres, linearly."""
    if len(values) == side:
        return values
    return np.asarray(cv2.resize(values, (side, side), interpolation=cv2.INTER_LINEAR))


def resized_surface(depth: Array, side: int) -> Array:
    """A depth map (S, S) float32 at another side; where that is larger, with slopes that are continuous.

    By cubic convolution (Keys 1981, a = -1/2), which is exact for surfaces of the second order: linear
    interpolation leaves facets, which shading shows, and OpenCV's cubic, whose a is -3/4, ripples.
    """
    if len(depth) >= side:
        return resized(depth, side)
    across = _cubic(len(depth), side)
    return np.asarray(across @ depth @ across.T)


@lru_cache(maxsize=8)
def _cubic(size: int, side: int) -> Array:
    """(side, size) float32: what each of ``side`` pixels takes of ``size``, beyond them of the last."""
    place = (np.arange(side) + 0.5) * size / side - 0.5
    first = np.floor(place).astype(int) - 1
    matrix = np.zeros((side, size))
    for tap in range(4):
        x = np.abs(place - (first + tap))
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        np.add.at(
            matrix,
            (np.arange(side), np.clip(first + tap, 0, size - 1)),
            np.where(x <= 1, near, np.where(x < 2, far, 0.0)),
        )
    return matrix.astype(np.float32)


def resized_depth(depth: Depth, side: int) -> Depth:
    """Depth, mask and confidence at another side; without normals, which are of the surface at its own."""
    confidence = None if depth.confidence is None else resized(depth.confidence, side)
    return Depth(resized_surface(depth.map, side), resized(depth.mask, side), confidence)
