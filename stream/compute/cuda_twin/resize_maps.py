"""`resize_maps` on a GPU: kernels/depth_maps.cu."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.resize_maps import DepthMaps

THREADS = 256

_GIVEN = ("depth", "mask", "confidence")

PARAMS = np.dtype(
    [(name, "u8") for name in (*_GIVEN, *(f"out_{name}" for name in _GIVEN))]
    + [("size", "i4"), ("side", "i4")],
    align=True,
)
"""Mirrors ResizeParams."""


def resize_maps(maps: DepthMaps, out: DepthMaps, stream: Stream) -> None:
    """Queue the launch that fills ``out``."""
    count, side = out.depth.shape[:2]
    params = np.zeros(1, PARAMS)
    for name, array, target in zip(_GIVEN, maps.arrays(), out.arrays(), strict=True):
        if array is not None and target is not None:
            params[name], params[f"out_{name}"] = array.pointer, target.pointer
    params["size"], params["side"] = maps.depth.shape[1], side
    driver = current_driver()
    kernel = driver.kernel("depth_maps", "resize_maps")
    driver.launch(kernel, (-(-side * side // THREADS), count, 1), THREADS, params, stream)
