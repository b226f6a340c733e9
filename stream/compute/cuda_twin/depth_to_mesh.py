"""`depth_to_mesh_batch` on a GPU: kernels/depth_to_mesh.cu."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.depth_to_mesh_batch import WIDE, GridMeshBatch, strip_rows

THREADS = 256

_POINTERS = (
    "depth",
    "mask",
    "views",
    "vertices",
    "normals",
    "uv",
    "triangles",
    "valid",
    "counts",
    "draw",
    "scratch",
)

PARAMS = np.dtype(
    [(name, "u8") for name in _POINTERS]
    + [("least_z", "f8"), ("reach", "f8")]
    + [("threshold", "f4"), ("jump", "f4")]
    + [("size", "i4"), ("rows", "i4"), ("strips", "i4"), ("inverse", "u4")],
    align=True,
)
"""Mirrors MeshParams."""


def depth_to_mesh_batch(
    depth: DeviceArray,
    mask: DeviceArray,
    views: DeviceArray,
    mask_threshold: float,
    depth_jump: float,
    least_z: float,
    reach: float,
    out: GridMeshBatch,
    stream: Stream,
) -> None:
    """Queue the making of the meshes: one launch behind the clearing of the scratch memory."""
    maps, size = depth.shape[:2]
    rows, strips = strip_rows(size)
    params = np.zeros(1, PARAMS)
    arrays = {"depth": depth, "mask": mask, "views": views}
    for name in _POINTERS:
        array = arrays[name] if name in arrays else getattr(out, name)
        params[name] = 0 if array is None else array.pointer
    params["least_z"], params["reach"] = least_z, reach
    params["threshold"], params["jump"] = float32_at_least(mask_threshold), depth_jump
    params["size"], params["rows"], params["strips"] = size, rows, strips
    params["inverse"] = -(-(1 << 31) // size)
    driver, scratch = current_driver(), out.scratch
    assert scratch is not None
    driver.fill(scratch.pointer, 0, scratch.nbytes, stream)
    kernel = driver.kernel("depth_to_mesh", "depth_to_mesh" if size <= WIDE else "depth_to_mesh_wide")
    driver.launch(kernel, (maps * strips, 1, 1), THREADS, params, stream)


def float32_at_least(value: float) -> np.float32:
    """The least float32 that is not below ``value``: a float32 reaches either or neither."""
    rounded = np.float32(value)
    return rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf))
