"""`mend_surface` on a GPU: kernels/silhouette.cu."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.cuda_twin.depth_to_mesh import float32_at_least
from stream.compute.depth_to_mesh_batch import MASK_THRESHOLD
from stream.compute.mend_surface import (
    FARTHEST,
    MAX_HOLE,
    MAX_SHIFT,
    MIN_PIECE,
    PIECE_REACH,
    RIM_REACH,
    SURE,
    SurfaceBatch,
    scratch_words,
)

THREADS = 1024

PARAMS = np.dtype(
    [(name, "u8") for name in ("depth", "mask", "confidence", "out_depth", "out_alpha", "scratch")]
    + [(name, "f8") for name in ("max_hole", "sure", "min_piece", "piece_reach")]
    + [(name, "f4") for name in ("threshold", "farthest", "jump", "max_shift")]
    + [(name, "i4") for name in ("rim_reach", "size", "words")],
    align=True,
)
"""Mirrors MendParams."""


def mend_surface(
    depth: DeviceArray,
    mask: DeviceArray,
    confidence: DeviceArray | None,
    jump: float,
    out: SurfaceBatch,
    stream: Stream,
) -> None:
    """Queue the launch that fills ``out``: a block for each map."""
    maps, size = depth.shape[:2]
    assert out.scratch is not None
    params = np.zeros(1, PARAMS)
    params["depth"], params["mask"] = depth.pointer, mask.pointer
    params["confidence"] = 0 if confidence is None else confidence.pointer
    params["out_depth"], params["out_alpha"] = out.depth.pointer, out.alpha.pointer
    params["scratch"], params["words"] = out.scratch.pointer, scratch_words(size)
    params["max_hole"], params["sure"] = MAX_HOLE, SURE
    params["min_piece"], params["piece_reach"] = MIN_PIECE, PIECE_REACH
    params["threshold"], params["farthest"] = float32_at_least(MASK_THRESHOLD), FARTHEST
    params["jump"], params["max_shift"] = jump, MAX_SHIFT
    params["rim_reach"], params["size"] = RIM_REACH, size
    driver = current_driver()
    kernel = driver.kernel("silhouette", "mend_surface")
    driver.launch(kernel, (maps, 1, 1), THREADS, params, stream)
