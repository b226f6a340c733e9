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
    flat = np.where(head, depth, _FAR)  # what is not head lies behind every rim
    down, right = flat[1:] - flat[:-1], flat[:, 1:] - flat[:, :-1]
    # Sides of each pixel (in either direction) on which the next pixel is a step behind, or before.
    behind, before = np.zeros((4, *head.shape), bool), np.zeros((4, *head.shape), bool)
    for index, change in ((0, down), (2, right)):
        here = (slice(None, -1), slice(None)) if index == 0 else (slice(None), slice(None, -1))
        there = (slice(1, None), slice(None)) if index == 0 else (slice(None), slice(1, None))
        np.greater_equal(change, jump, out=behind[index][here])
        np.less_equal(change, -jump, out=before[index][here])
        np.less_equal(change, -jump, out=behind[index + 1][there])
        np.greater_equal(change, jump, out=before[index + 1][there])
    between = behind[0] & before[1] | before[0] & behind[1] | behind[2] & before[3] | before[2] & behind[3]
    kept = head & ~between
    near = kept & (behind[0] | behind[1] | behind[2] | behind[3])
    far = kept & (before[0] | before[1] | before[2] | before[3]) & ~near
    result = np.array(depth, order="C")
    for rim in (near, far):
        _average(result, depth, rim)
    return result, kept


def _average(result: Array, depth: Array, rim: Array) -> None:
    """Put the mean of the rim's depths nearby into ``result`` (C-contiguous) at the rim."""
    places = np.flatnonzero(rim)
    values = depth.ravel()[places]
    thin = np.zeros_like(result)
    thin.ravel()[places] = values
    total = cv2.boxFilter(thin, -1, WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(rim.view(np.uint8), -1, WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
    mean = total.ravel()[places] / count.ravel()[places]
    result.ravel()[places] = np.where(np.abs(mean - values) < MAX_SHIFT, mean, values)
