"""`mesh_quantize` on a GPU: kernels/mesh_quantize.cu."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.cuda_twin.depth_to_mesh import float32_at_least
from stream.compute.mesh_quantize import QuantisedPlanes, Steps

THREADS = 256

PARAMS = np.dtype(
    [(name, "u8") for name in ("depth", "mask", "previous", "planes", "levels")]
    + [("low", "f4"), ("scale", "f4"), ("threshold", "f4"), ("top", "i4"), ("size", "i4")],
    align=True,
)
"""Mirrors QuantizeParams."""


def mesh_quantize(
    depth: DeviceArray,
    mask: DeviceArray,
    steps: Steps,
    previous: DeviceArray | None,
    mask_threshold: float,
    out: QuantisedPlanes,
    stream: Stream,
) -> None:
    """Queue the launch that fills ``out``."""
    maps, size = depth.shape[:2]
    params = np.zeros(1, PARAMS)
    params["depth"], params["mask"] = depth.pointer, mask.pointer
    params["previous"] = 0 if previous is None else previous.pointer
    params["planes"], params["levels"] = out.planes.pointer, out.levels.pointer
    params["low"], params["scale"], params["top"], params["size"] = steps.low, steps.scale, steps.top, size
    params["threshold"] = float32_at_least(mask_threshold)
    driver = current_driver()
    kernel = driver.kernel("mesh_quantize", "mesh_quantize")
    driver.launch(kernel, (-(-size * size // THREADS), maps, 1), THREADS, params, stream)
