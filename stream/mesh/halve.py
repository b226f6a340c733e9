"""A surface with fewer pixels, for who cannot take all of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stream.compute.depth_to_mesh import MASK_THRESHOLD, check_maps
from stream.mesh.build import connect_jump
from stream.types import Array, Surface


def halved(surface: Surface) -> Surface:
    """Each 2 x 2 pixels as one (`shrunk`); a surface of an odd size is returned as it is.

    :raises InputError: the maps have wrong shapes or dtypes.
    """
    size = check_maps(surface.depth, surface.alpha)
    return surface if size % 2 else shrunk(surface, size // 2)


def shrunk(surface: Surface, side: int) -> Surface:
    """A surface read at fewer places: between four pixels each, of those that are near each other.

    Where a step runs through the four, the nearer side is taken: a mean would lie between, on no surface.
    There is surface where half of what is read is some.

    :param surface: as `stream.mesh.build.surface_of` gives it; one that is not larger is returned as it is.
    :param side: of the result, pixels.
    :returns: depth and alpha (0 or 1) of (side, side).
    :raises InputError: the maps have wrong shapes or dtypes.
    """
    size = check_maps(surface.depth, surface.alpha)
    if side >= size:
        return surface
    fours, shares = _fours(size, side)
    depth, solid = surface.depth.ravel()[fours], surface.alpha.ravel()[fours] >= MASK_THRESHOLD
    solid &= np.isfinite(depth)
    nearest = np.where(solid, depth, np.float32(np.inf)).min(axis=0)
    used = shares * (solid & (depth <= nearest + np.float32(connect_jump(size))))
    total = used.sum(axis=0)
    read = np.einsum("kij,kij->ij", used, np.where(solid, depth, np.float32(0)))
    return Surface(read / np.where(total > 0, total, np.float32(1)), (total >= 0.5).astype(np.float32))


@lru_cache(maxsize=4)
def _fours(size: int, side: int) -> tuple[Array, Array]:
    """The pixels between which each of the places lies, and how much each of them counts.

    :returns: (4, side, side) int, places in the raveled map; (4, side, side) float32, 1 together.
    """
    places = (np.arange(side) + 0.5) * (size / side) - 0.5
    first = np.minimum(np.floor(places).astype(np.intp), size - 2)
    second = (places - first).astype(np.float32)
    both = np.stack([1 - second, second])
    corners = [(y, x) for y in (0, 1) for x in (0, 1)]
    pixels = [(first + y)[:, None] * size + (first + x) for y, x in corners]
    return np.stack(pixels), np.stack([np.outer(both[y], both[x]) for y, x in corners])
