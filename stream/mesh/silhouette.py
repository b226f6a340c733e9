"""Where one surface ends and another begins, in a map of any resolution."""

from __future__ import annotations

from stream.compute.depth_to_mesh import DEPTH_JUMP

MAX_SLOPE = 6.4
"""Depth change over distance across, both in crop units: a surface turned 81 degrees away from the camera."""


def depth_jump(size: int) -> float:
    """From which depth step, crop units, neighbouring pixels of a ``size`` x ``size`` map are not connected.

    A step per pixel is a different slope at every resolution: at 128 pixels across, 0.1 is one of 6.4 (81
    degrees), but at 256 it is one of 12.8, and a step from ear to cheek or from chin to neck that a
    network blurs over two pixels passes: seen from the side, a sheet several centimetres long without a
    feature on it. So above 128 pixels the slope is held instead, which is ``2 * MAX_SLOPE / size``.
    """
    return min(DEPTH_JUMP, 2 * MAX_SLOPE / size)
