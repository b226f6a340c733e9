"""Depth at edges: rims at the silhouette and beside steps inside the head run smoothly."""

from __future__ import annotations

import numpy as np

from stream.types import Array

MAX_SHIFT = 0.15
"""Crop units: a rim pixel further than this from its neighbours' mean is not drawn to it."""

REACH = 3
"""Pixels to each side over which a rim is averaged."""


def smooth_rims(depth: Array, head: Array, jump: float) -> tuple[Array, Array]:
    """Average the pixels along each edge along that edge, and cut what hangs between two edges.

    An outline crosses the pixel grid in steps, and where the surface falls away steeply, each such step
    moves the outline's depth by some millimetres: from the side, the mesh ends in saw teeth. The mean of
    the rim's own pixels in a window of 7 x 7 takes those away. A step inside the head (from chin to neck)
    has a near and a far rim, which are averaged apart; the pixels between them, to which a network blurs the
    step, belong to neither surface and are cut.

    :param depth: (S, S) float32 crop units.
    :param head: (S, S) bool, where ``depth`` counts; finite there.
    :param jump: depth step between neighbours that are not connected.
    :return: the depth (S, S) float32 and the head (S, S) bool without what was cut.
    """
    from stream.compute.numba_twin import rims

    result, kept = np.empty(depth.shape, np.float32), np.empty(depth.shape, np.bool_)
    maps = np.ascontiguousarray(depth), np.ascontiguousarray(head)
    rims.smooth_rims(*maps, jump, REACH, MAX_SHIFT, result, kept)
    return result, kept
