"""`texture_project` on the GPU."""

from __future__ import annotations

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.types import Array

THREADS = 256

_POINTERS = (
    "image",
    "vertices",
    "normals",
    "triangles",
    "triangle",
    "weights",
    "depth",
    "texture",
    "confidence",
)
_FLOATS = ("fx", "fy", "cx", "cy", "tolerance", "power", "keep", "gain", "least_z")
_COUNTS = ("width", "height", "vertex_count", "triangle_count", "size", "depth_size")
_PARAMS = np.dtype(
    [
        *((name, "u8") for name in _POINTERS),
        ("crop_from_image", "f4", (6,)),
        *((name, "f4") for name in _FLOATS),
        *((name, "i4") for name in _COUNTS),
    ],
    align=True,
)


def texture_project(
    image: DeviceArray,
    vertices: DeviceArray,
    normals: DeviceArray,
    triangles: DeviceArray,
    triangle: DeviceArray,
    weights: DeviceArray,
    depth: DeviceArray,
    crop_from_image: Array,
    scalars: tuple[float, ...],
    texture: DeviceArray,
    confidence: DeviceArray,
    stream: Stream,
) -> None:
    """Queue the painting of the last two arrays (`stream.compute.texture_project`)."""
    driver = current_driver()
    arrays = (image, vertices, normals, triangles, triangle, weights, depth, texture, confidence)
    size = triangle.shape[0]
    height, width = image.shape[:2]
    counts = (width, height, vertices.shape[0], triangles.shape[0], size, depth.shape[0])
    params = np.zeros(1, _PARAMS)
    for name, array in zip(_POINTERS, arrays, strict=True):
        params[name] = array.pointer
    for name, number in zip((*_FLOATS, *_COUNTS), (*scalars, *counts), strict=True):
        params[name] = number
    params["crop_from_image"] = crop_from_image.reshape(6)
    kernel = driver.kernel(
        "texture_project", "texture_bytes" if texture.dtype == np.uint8 else "texture_floats"
    )
    driver.launch(kernel, (-(-size * size // THREADS), 1, 1), THREADS, params, stream)
