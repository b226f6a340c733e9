"""A surface with half as many pixels a side, for who cannot take all of it."""

from __future__ import annotations

import numpy as np

from stream.compute.depth_to_mesh import MASK_THRESHOLD, check_maps
from stream.mesh.build import connect_jump
from stream.types import Array, Surface


def halved(surface: Surface) -> Surface:
    """Each 2 x 2 pixels as one: the mean of those that are near each other, surface where at least two are.

    Where a step runs through the four, the nearer side is taken: a mean would lie between, on no surface.

    :param surface: as `stream.mesh.build.surface_of` gives it, of an even size; another is returned as it is.
    :returns: depth and alpha (0 or 1) of (S / 2, S / 2); a pixel's middle is that of its four.
    :raises InputError: the maps have wrong shapes or dtypes.
    """
    size = check_maps(surface.depth, surface.alpha)
    if size % 2:
        return surface
    depth, solid = _fours(surface.depth), _fours(surface.alpha) >= MASK_THRESHOLD
    solid &= np.isfinite(depth)
    nearest = np.where(solid, depth, np.inf).min(axis=0)
    used = solid & (depth <= nearest + np.float32(connect_jump(size)))
    count = used.sum(axis=0)
    mean = np.where(used, depth, np.float32(0)).sum(axis=0, dtype=np.float32) / np.maximum(count, 1)
    return Surface(mean.astype(np.float32), (count >= 2).astype(np.float32))


def _fours(values: Array) -> Array:
    """(4, S / 2, S / 2): the pixels of each 2 x 2."""
    return np.stack([values[y::2, x::2] for y in (0, 1) for x in (0, 1)])
