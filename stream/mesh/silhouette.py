"""What keeps a mesh's rim clean: no ragged threads, no loose islands, no sheets seen edge-on."""

from __future__ import annotations

import cv2
import numpy as np

from stream.compute.depth_mesh import DEPTH_JUMP, MASK_THRESHOLD
from stream.types import Array

MAX_SLOPE = 6.4
"""Depth change over distance across, both in crop units: a surface turned 81 degrees away from the camera."""

FARTHEST = 1.2
"""Crop units from the eyes' plane (about 14 cm): behind it are shoulders, not head, seen nearly edge-on."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def depth_jump(size: int) -> float:
    """From which depth step, crop units, neighbouring pixels of a ``size`` x ``size`` map are not connected.

    A step per pixel is a different slope at every resolution: at 128 pixels across, 0.1 is one of 6.4 (81
    degrees), but at 256 it is one of 12.8, and a step from ear to cheek or from chin to neck that a
    network blurs over two pixels passes: seen from the side, a sheet several centimetres long without a
    feature on it. So above 128 pixels the slope is held instead, which is ``2 * MAX_SLOPE / size``.
    """
    return min(DEPTH_JUMP, 2 * MAX_SLOPE / size)


def clean_mask(depth: Array, mask: Array, threshold: float = MASK_THRESHOLD) -> Array:
    """The mask with 0 where no mesh is wanted, unchanged elsewhere.

    Cut are pixels whose depth is not finite or beyond `FARTHEST`, threads less than three pixels wide
    (opening by a cross) and all but the largest 4-connected piece, so that specks of mask do not float
    about the face.

    :param depth: (S, S) float32 crop units.
    :param mask: (S, S) float32 in 0..1.
    :param threshold: from which value a pixel belongs to the head.
    :return: (S, S) float32.
    """
    # False for NaN and both infinities, too.
    solid = ((mask >= threshold) & (np.abs(depth) < FARTHEST)).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, _CROSS)
    return np.where(_largest_piece(solid), mask, np.float32(0))


def _largest_piece(solid: Array) -> Array:
    """(S, S) bool: the largest 4-connected component of a picture of 0 and 1."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count <= 2:
        return solid != 0
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
