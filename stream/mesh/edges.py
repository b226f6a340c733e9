"""Depth at edges: rims at the silhouette and beside steps inside the head run smoothly."""

from __future__ import annotations

import cv2
import numpy as np

from stream.types import Array

MAX_SHIFT = 0.15
"""Crop units: a rim pixel further than this from its neighbours' mean is not drawn to it."""

WINDOW = (7, 7)
"""Pixels over which a rim is averaged."""

_FAR = np.float32(1e3)


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
    # A map of 192 x 192 floats is 147 kB, which the system hands out page by page: few are made here.
    flat = np.full(depth.shape, _FAR)  # what is not head lies behind every rim
    np.copyto(flat, depth, where=head)
    beyond = flat + np.float32(jump)
    below, above = _steps(flat, beyond, (slice(1, None), slice(None)), (slice(None, -1), slice(None)))
    right, left = _steps(flat, beyond, (slice(None), slice(1, None)), (slice(None), slice(None, -1)))
    between = (below == -above) & (below != 0) | (right == -left) & (right != 0)
    kept = head & ~between
    near = kept & ((below > 0) | (above > 0) | (right > 0) | (left > 0))
    far = kept & ((below < 0) | (above < 0) | (right < 0) | (left < 0)) & ~near
    result = np.array(depth, order="C")
    for rim in (near, far):
        _average(result, np.flatnonzero(rim), flat, beyond)
    return result, kept


def _steps(
    flat: Array, beyond: Array, there: tuple[slice, slice], here: tuple[slice, slice]
) -> tuple[Array, Array]:
    """How the next and the previous pixel lie to each: 1 a step behind, -1 a step before, 0 connected.

    :param flat, beyond: (S, S) depth, and depth a step further.
    :param there, here: where the next pixels lie in the map, and those they are next to.
    :return: two (S, S) int8; 0 at the end where there is no such pixel.
    """
    sign = (flat[there] >= beyond[here]).view(np.int8) - (flat[here] >= beyond[there]).view(np.int8)
    following, previous = np.zeros(flat.shape, np.int8), np.zeros(flat.shape, np.int8)
    following[here] = sign
    previous[there] = -sign
    return following, previous


def _average(result: Array, places: Array, thin: Array, total: Array) -> None:
    """Put the mean of the rim's depths nearby into ``result`` at the rim.

    :param result: (S, S) float32, C-contiguous; not yet changed at the rim.
    :param places: (K,) flat indices of the rim's pixels.
    :param thin, total: (S, S) float32 to work in; what they hold is lost.
    """
    values = result.ravel()[places]
    thin.fill(0)
    thin.ravel()[places] = values
    rim = np.zeros(result.shape, np.uint8)
    rim.ravel()[places] = 1
    total = cv2.boxFilter(thin, -1, WINDOW, dst=total, normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(rim, -1, WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
    mean = total.ravel()[places] / count.ravel()[places]
    result.ravel()[places] = np.where(np.abs(mean - values) < MAX_SHIFT, mean, values)
