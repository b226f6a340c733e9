"""Maps of one size read at another."""

from __future__ import annotations

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
    from stream.compute.numba_twin.resize_maps import resize_map

    result = np.empty((side, side), np.float32)
    resize_map(np.ascontiguousarray(depth), True, result)
    return result


def resized_depth(depth: Depth, side: int) -> Depth:
    """Depth, mask and confidence at another side; without normals, which are of the surface at its own."""
    confidence = None if depth.confidence is None else resized(depth.confidence, side)
    return Depth(resized_surface(depth.map, side), resized(depth.mask, side), confidence)
