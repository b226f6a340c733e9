"""`texture_project`: what a frame shows of a mesh is painted into the mesh's texture and kept over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.arrays import is_device, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.dispatch import ComputeArray, check_array, check_out, chosen_backend
from stream.errors import InputError
from stream.types import Array

MAX_SIZE = 8192
MAX_SIDE = 16384
"""Longest side of a frame: its bytes must be countable by 32 bits."""
MAX_UV = 1e6
MIN_Z_MM = 1.0
"""A point nearer than this is not before the camera."""

TOLERANCE_MM = 4.0
"""How far behind the depth map a point may lie and still be on its surface."""
POWER = 2.0
GAIN = 0.25
MARGIN = 1.5
"""Texels around a chart that are painted too: a renderer's bilinear filter reads the diagonal neighbour."""


@dataclass(frozen=True, slots=True)
class TextureLayout:
    """Which point of a mesh each texel of a T x T texture shows; depends on its topology and UV only.

    :ivar triangle: (T, T) int32, row of the mesh's triangles; -1 where there is no surface.
    :ivar weights: (T, T, 2) float32, barycentric weights of that triangle's first two corners.
    """

    triangle: ComputeArray
    weights: ComputeArray


def texture_layout(uv: Array, triangles: Array, size: int, margin: float = MARGIN) -> TextureLayout:
    """Rasterise a mesh in its UV plane, once for a topology, on the CPU.

    A texel belongs to the triangle its centre lies in or on; where several do (charts that overlap, shared
    edges), to the first. A texel outside all triangles, but within ``margin`` texels of one, shows the
    nearest point of the nearest triangle. Triangles without area in the UV plane show nowhere.

    :param uv: (V, 2) float, 0..1 from the texture's top-left to its bottom-right corner; what lies outside
        is cut off.
    :param triangles: (M, 3) int32.
    :param size: T, 1..8192.
    :param margin: texels, 0..16.
    :returns: on the host; `stream.compute.dispatch.on_device` moves its arrays to the device.
    :raises InputError: a shape, dtype or value does not fit.
    """
    triangles = check_array("triangles", triangles, np.int32, (None, 3))
    if not isinstance(uv, np.ndarray) or uv.ndim != 2 or uv.shape[1] != 2 or uv.dtype.kind != "f":
        raise InputError("The UV must be a float array of shape (V, 2).")
    if not (np.abs(uv) <= MAX_UV).all():
        raise InputError("The UV has values that are not finite, or far outside 0..1.")
    if is_device(triangles) or (triangles.size and (triangles.min() < 0 or triangles.max() >= len(uv))):
        raise InputError(f"The triangles must lie on the host and count from 0 to {len(uv) - 1}.")
    if not 1 <= size <= MAX_SIZE or not 0 <= margin <= 16:
        raise InputError(f"The size must be 1 to {MAX_SIZE} and the margin 0 to 16, not {size} and {margin}.")
    triangle, weights = np.full((size, size), -1, np.int32), np.zeros((size, size, 2), np.float32)
    load_twin("texture_project", "numba").texture_layout(
        np.ascontiguousarray(uv, np.float64) * size - 0.5,
        np.ascontiguousarray(triangles),
        float(margin),
        np.full((size, size), float(margin) ** 2),
        triangle,
        weights,
    )
    return TextureLayout(triangle, weights)


def texture_project(
    image: ComputeArray,
    vertices: ComputeArray,
    normals: ComputeArray,
    triangles: ComputeArray,
    layout: TextureLayout,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    depth: ComputeArray,
    crop_from_image: Array,
    texture: ComputeArray,
    confidence: ComputeArray,
    keep: float,
    tolerance: float = TOLERANCE_MM,
    power: float = POWER,
    gain: float = GAIN,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> None:
    """Blend what a frame shows of a mesh into ``texture``, weighted by ``confidence``, both in place.

    A texel's point P and normal n are interpolated in its triangle. The frame shows it if P is at least 1 mm
    before the camera and projects between the frame's pixel centres, n faces the camera (cos = -n.P / |n||P|
    > 0), and none of the up to four depth pixels around its projection is nearer by more than ``tolerance``.
    Its colour is then the frame's, bilinear, and its weight is w = ``gain`` cos^``power``: a grazing look
    counts little, as in view-dependent texture mapping (Debevec, Taylor & Malik 1996, section 4). With the
    texel's confidence c and colour C so far, and the frame's colour F:

        c' = ``keep`` c;  C = (c' C + w F) / (c' + w) where w > 0;  c = min(1, c' + w)

    So a first sight replaces whatever was there; an unseen texel keeps its colour while its confidence fades,
    and what is seen next replaces it the sooner; one seen steadily goes w / (c' + w) of the way to each
    frame's colour, which tends to the larger of 1 - keep and w / (keep + w). Texels without a surface
    are left alone. Vertices that are not finite, and indices that count none, are not visible.

    :param image: (H, W, 3) uint8 RGB.
    :param vertices: (V, 3) float32, camera frame, mm.
    :param normals: (V, 3) float32, out of the surface, of any length.
    :param triangles: (M, 3) int32.
    :param layout: of `texture_layout` for these triangles, T x T; where the other arrays are.
    :param fx, fy, cx, cy: the pinhole camera, image pixels.
    :param depth: (S, S) float32, Z in mm of what the camera sees over a crop; not finite: nothing there.
        Outside the map nothing is known to hide the mesh.
    :param crop_from_image: (2, 3), image pixels to the depth map's (`stream.geometry`); on the host.
    :param texture: (T, T, 3) float32 grey levels 0..255, or uint8, RGB. Bytes are rounded in every frame, so
        they stop within 0.5 / (share of a frame) levels of where floats go on to.
    :param confidence: (T, T) float32 in 0..1; zeros in the beginning, and NaN counts as 0.
    :param keep: 0..1, what is left of a confidence since the last frame: exp(-dt / tau).
    :param tolerance: mm.
    :param power: 0..64; 0: every look at the front counts the same.
    :param gain: above 0, up to 1: confidence of one look straight on.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; device arrays are painted on the device.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    triangle, weights = layout.triangle, layout.weights
    given = (image, vertices, normals, triangles, triangle, weights, depth)
    backend = chosen_backend(compute, *given, texture, confidence)
    inputs = _check_inputs(*given)
    size = inputs[4].shape[0]
    kind = np.uint8 if getattr(texture, "dtype", None) == np.uint8 else np.float32
    texture = check_out("texture", texture, kind, (size, size, 3))
    confidence = check_out("confidence", confidence, np.float32, (size, size))
    matrix = np.ascontiguousarray(crop_from_image, dtype=np.float64)
    if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
        raise InputError("crop_from_image must be a finite (2, 3) matrix.")
    scalars = _check_scalars(fx, fy, cx, cy, tolerance, power, keep, gain)
    kernel = load_twin("texture_project", backend).texture_project
    if backend == "numba":
        kernel(*inputs, matrix, scalars, texture, confidence, None)
        return
    driver = current_driver()
    queue = driver.default_stream if stream is None else stream
    state = (texture, confidence)
    moved = [array if is_device(array) else to_device(driver, array, queue) for array in (*inputs, *state)]
    kernel(*moved[:7], matrix, scalars, *moved[7:], queue)
    for array, result in zip(state, moved[7:], strict=True):
        if not is_device(array):
            array[...] = to_host(driver, result, queue)


def _check_inputs(
    image: ComputeArray,
    vertices: ComputeArray,
    normals: ComputeArray,
    triangles: ComputeArray,
    triangle: ComputeArray,
    weights: ComputeArray,
    depth: ComputeArray,
) -> list[ComputeArray]:
    image = check_array("image", image, np.uint8, (None, None, 3))
    if not all(1 <= side <= MAX_SIDE for side in image.shape[:2]):
        raise InputError(f"The image is {image.shape}; its sides must be 1 to {MAX_SIDE}.")
    vertices = check_array("vertices", vertices, np.float32, (None, 3))
    normals = check_array("normals", normals, np.float32, vertices.shape)
    triangles = check_array("triangles", triangles, np.int32, (None, 3))
    triangle = check_array("layout's triangle", triangle, np.int32, (None, None))
    size = triangle.shape[0]
    if triangle.shape[1] != size or not 1 <= size <= MAX_SIZE:
        raise InputError(f"The layout is {triangle.shape}; it must be a square of 1 to {MAX_SIZE} texels.")
    weights = check_array("layout's weights", weights, np.float32, (size, size, 2))
    depth = check_array("depth map", depth, np.float32, (None, None))
    if depth.shape[0] != depth.shape[1] or not 1 <= depth.shape[0] <= MAX_SIZE:
        raise InputError(f"The depth map is {depth.shape}; it must be a square of 1 to {MAX_SIZE} pixels.")
    return [image, vertices, normals, triangles, triangle, weights, depth]


def _check_scalars(
    fx: float, fy: float, cx: float, cy: float, tolerance: float, power: float, keep: float, gain: float
) -> tuple[float, ...]:
    for name, value in {"fx": fx, "fy": fy, "gain": gain}.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value} but must be a positive number.")
    if not (math.isfinite(cx) and math.isfinite(cy)):
        raise InputError(f"The principal point is ({cx}, {cy}) but must be finite.")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance is {tolerance} but must be a number of millimetres, 0 or more.")
    for name, value, most in (("power", power, 64), ("keep", keep, 1), ("gain", gain, 1)):
        if not 0 <= value <= most:
            raise InputError(f"{name} is {value} but must be between 0 and {most}.")
    return tuple(map(float, (fx, fy, cx, cy, tolerance, power, keep, gain, MIN_Z_MM)))
