"""Which pixels of a depth map become mesh: no specks, threads, pinholes or sheets seen edge-on."""

from __future__ import annotations

import cv2
import numpy as np

from stream.compute.depth_to_mesh import DEPTH_JUMP, MASK_THRESHOLD
from stream.types import Array

MAX_SLOPE = 6.4
"""Depth change over distance across, both in crop units: a surface turned 81 degrees away from the camera."""

FARTHEST = 1.2
"""Crop units from the eyes' plane (about 14 cm): behind it are shoulders, not head, seen nearly edge-on."""

MAX_HOLE = 0.004
"""Share of the head's area up to which a hole in the mask is a mistake, 1 cm across: fingertips hide more."""

SURE = 0.5
"""Mean confidence of the depth in a hole below which it is not filled: something may be held there."""

MIN_PIECE = 0.1
"""Share of the largest piece's area from which another piece is kept, ..."""

REACH = 0.65
"""... if its middle lies within this many crop units of the crop's: face beyond a hand, not a neighbour's."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def depth_jump(size: int) -> float:
    """From which depth step, crop units, neighbouring pixels of a ``size`` x ``size`` map are not connected.

    A step per pixel is a different slope at every resolution: at 128 pixels across, 0.1 is one of 6.4 (81
    degrees), but at 256 it is one of 12.8, and a step from ear to cheek or from chin to neck that a
    network blurs over two pixels passes: seen from the side, a sheet several centimetres long without a
    feature on it. So above 128 pixels the slope is held instead, which is ``2 * MAX_SLOPE / size``.
    """
    return min(DEPTH_JUMP, 2 * MAX_SLOPE / size)


def clean_mask(depth: Array, mask: Array, confidence: Array | None = None) -> Array:
    """The mask with 0 where no mesh is wanted and 1 in small holes, unchanged elsewhere.

    Cut are pixels whose depth is not finite or beyond `FARTHEST`; threads less than three pixels wide
    (opening by a cross, then the majority of 5 x 5 pixels, which rounds a ragged outline); and pieces that
    are neither the largest nor a good part of the same face. Filled are holes of up to `MAX_HOLE`. A larger
    one stays: it is a hand or an object before the face, which the network cuts out.

    :param depth: (S, S) float32 crop units.
    :param mask: (S, S) float32 in 0..1.
    :param confidence: (S, S) float32 in 0..1; small holes that are less sure than `SURE` stay.
    :return: (S, S) float32.
    """
    from stream.compute.numba_twin.rims import kept_mask, solid_pixels

    depth, mask = np.ascontiguousarray(depth), np.ascontiguousarray(mask)
    solid, clean = np.empty(depth.shape, np.uint8), np.empty(depth.shape, np.float32)
    solid_pixels(depth, mask, MASK_THRESHOLD, FARTHEST, solid)
    filled = _fill_holes(solid, confidence)
    smooth = cv2.morphologyEx(filled, cv2.MORPH_OPEN, _CROSS)
    smooth &= cv2.boxFilter(smooth, -1, (5, 5), normalize=False) >= 13
    kept_mask(depth, mask, solid, _main_pieces(smooth), FARTHEST, clean)
    return clean


def _fill_holes(solid: Array, confidence: Array | None) -> Array:
    """A picture of 0 and 1 with its small, sure holes filled; the same object if there are none."""
    contours, hierarchy = cv2.findContours(solid, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return solid
    limit = MAX_HOLE * int(np.count_nonzero(solid))
    filled = solid
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        # A hole's contour runs on the pixels around it, so its area is at most that much too large.
        if parent < 0 or len(contour) > 4 * limit + 4 or cv2.contourArea(contour) - len(contour) / 2 > limit:
            continue
        inside = cv2.drawContours(np.zeros_like(solid), [contour], 0, 1, cv2.FILLED) > solid
        if confidence is None or np.nan_to_num(confidence[inside]).mean() >= SURE:
            filled = filled | inside
    return filled


def _main_pieces(solid: Array) -> Array:
    """A picture of 0 and 1: of another one its largest 4-connected component, and the face's other parts."""
    from stream.compute.numba_twin.rims import pieces

    labels, sums = (
        np.empty(solid.shape, np.int32),
        np.empty((len(solid) * (len(solid) + 1) // 2 + 1, 3), np.int64),
    )
    sums = sums[: pieces(solid, labels, sums)]
    if len(sums) <= 2:
        return solid
    area = sums[:, 0]
    largest = 1 + int(np.argmax(area[1:]))
    offset = (2 * sums[:, 1:] / np.maximum(area[:, None], 1) + 1) / solid.shape[0] - 1
    kept = (area >= MIN_PIECE * area[largest]) & (np.hypot(*offset.T) < REACH)
    kept[largest], kept[0] = True, False
    return np.asarray(kept.view(np.uint8)[labels])
