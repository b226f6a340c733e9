"""`texture_project` and the layout it paints into, on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

_map = types.Array(types.float32, 2, "C", readonly=True)
_indices = types.Array(types.int32, 2, "C", readonly=True)
_weights = types.Array(types.float32, 3, "C", readonly=True)


@inline
def _hidden(depth: Array, m: Array, u: float, v: float, z: float, tolerance: float) -> bool:
    """Whether something of the depth map is nearer than z at image point (u, v)."""
    x, y = m[0, 0] * u + m[0, 1] * v + m[0, 2], m[1, 0] * u + m[1, 1] * v + m[1, 2]
    last = depth.shape[0] - 1
    if not (x >= -0.5 and y >= -0.5 and x <= last + 0.5 and y <= last + 0.5):
        return False
    left, top = int(min(max(x, 0.0), float(last))), int(min(max(y, 0.0), float(last)))
    for i in range(top, min(top + 1, last) + 1):
        for j in range(left, min(left + 1, last) + 1):
            if math.isfinite(depth[i, j]) and z > depth[i, j] + tolerance:
                return True
    return False


@inline
def _places(
    triangle: Array,
    weights: Array,
    vertices: Array,
    normals: Array,
    triangles: Array,
    camera: Array,
    out: Array,
) -> None:
    """Rows of ``out`` for a row of texels: image point (u, v), z (0 where there is none), cosine to the view.

    Without branches and in single precision, so that the compiler can do several texels at once.
    """
    one = np.float32(1)
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    count, known = vertices.shape[0], triangles.shape[0]
    for j in range(triangle.shape[0]):
        t = triangle[j]
        real = (t >= 0) & (t < known)
        t = t if real else 0
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        real &= (a >= 0) & (a < count) & (b >= 0) & (b < count) & (c >= 0) & (c < count)
        a, b, c = a if real else 0, b if real else 0, c if real else 0
        wa, wb = weights[j, 0], weights[j, 1]
        wc = one - wa - wb
        x = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
        y = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
        z = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
        nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
        ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
        nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
        out[0, j] = fx * (x / z) + cx
        out[1, j] = fy * (y / z) + cy
        out[2, j] = z if real else np.float32(0)
        lengths = np.sqrt(nx * nx + ny * ny + nz * nz) * np.sqrt(x * x + y * y + z * z)
        out[3, j] = -(nx * x + ny * y + nz * z) / lengths


@inline
def _sample(image: Array, u: float, v: float) -> tuple[float, float, float]:
    """The frame's colour at (u, v), which lies between its pixel centres."""
    left, top = int(u), int(v)
    right, bottom = min(left + 1, image.shape[1] - 1), min(top + 1, image.shape[0] - 1)
    across, down = u - left, v - top
    wa, wb = (1 - across) * (1 - down), across * (1 - down)
    wc, wd = (1 - across) * down, across * down
    a, b, c, d = image[top, left], image[top, right], image[bottom, left], image[bottom, right]
    return (
        wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
        wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
        wa * a[2] + wb * b[2] + wc * c[2] + wd * d[2],
    )


def _signature(grey: Any) -> Any:
    return types.void(
        types.Array(types.uint8, 3, "C", readonly=True),
        _map,
        _map,
        _indices,
        _indices,
        _weights,
        _map,
        types.Array(types.float64, 2, "C", readonly=True),
        types.UniTuple(types.float64, 9),
        types.float64,
        types.Array(grey, 3, "C"),
        types.Array(types.float32, 2, "C"),
    )


@compiled([_signature(types.float32), _signature(types.uint8)])
def _project(
    image: Array,
    vertices: Array,
    normals: Array,
    triangles: Array,
    triangle: Array,
    weights: Array,
    depth: Array,
    crop_from_image: Array,
    scalars: tuple[float, ...],
    rounding: float,
    texture: Array,
    confidence: Array,
) -> None:
    """Blend into the last two arrays.

    :param rounding: 0.5 for a texture of bytes, since numba cuts fractions off.
    """
    fx, fy, cx, cy, tolerance, power, keep, gain, least_z = scalars
    camera = np.array([fx, fy, cx, cy], np.float32)
    right, bottom = image.shape[1] - 1, image.shape[0] - 1
    places = np.zeros((4, triangle.shape[1]), np.float32)
    for i in range(triangle.shape[0]):
        if vertices.shape[0] > 0 and triangles.shape[0] > 0:
            _places(triangle[i], weights[i], vertices, normals, triangles, camera, places)
        for j in range(triangle.shape[1]):
            if triangle[i, j] < 0:
                continue
            u, v, z, facing = places[0, j], places[1, j], places[2, j], places[3, j]
            # Written so that NaN fails each test.
            shown = z >= least_z and facing > 0 and u >= 0 and v >= 0 and u <= right and v <= bottom
            fresh = 0.0
            if shown and not _hidden(depth, crop_from_image, u, v, z, tolerance):
                fresh = gain * min(float(facing), 1.0) ** power
            before = float(confidence[i, j])
            kept = keep * before if before > 0 else 0.0
            confidence[i, j] = min(kept + fresh, 1.0)
            if not fresh > 0:
                continue
            share = fresh / (kept + fresh)
            colour = _sample(image, u, v)
            for k in range(3):
                value = colour[k]
                if kept > 0:
                    value = texture[i, j, k] + share * (value - texture[i, j, k])
                texture[i, j, k] = value + rounding


def texture_project(
    image: Array,
    vertices: Array,
    normals: Array,
    triangles: Array,
    triangle: Array,
    weights: Array,
    depth: Array,
    crop_from_image: Array,
    scalars: tuple[float, ...],
    texture: Array,
    confidence: Array,
    stream: object,
) -> None:
    """Paint the last two arrays (`stream.compute.texture_project`); there is no stream here."""
    arrays = (image, vertices, normals, triangles, triangle, weights, depth)
    rounding = 0.5 if texture.dtype == np.uint8 else 0.0
    _project(*map(np.ascontiguousarray, arrays), crop_from_image, scalars, rounding, texture, confidence)


@inline
def _closest(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> tuple[float, float]:
    """Squared distance from p to the segment a b, and how far along it the nearest point lies (0..1)."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    along = ((px - ax) * dx + (py - ay) * dy) / length if length > 0 else 0.0
    along = min(max(along, 0.0), 1.0)
    ox, oy = px - ax - along * dx, py - ay - along * dy
    return ox * ox + oy * oy, along


@inline
def _nearest(
    px: float, py: float, ax: float, ay: float, bx: float, by: float, cx: float, cy: float, area: float
) -> tuple[float, float, float]:
    """Squared distance from p to the triangle a b c, and the weights of a and b at its nearest point."""
    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
    if wa >= 0 and wb >= 0 and wa + wb <= 1:
        return 0.0, wa, wb
    distance, along = _closest(px, py, ax, ay, bx, by)
    best = (distance, 1 - along, along)
    distance, along = _closest(px, py, bx, by, cx, cy)
    if distance < best[0]:
        best = (distance, 0.0, 1 - along)
    distance, along = _closest(px, py, cx, cy, ax, ay)
    if distance < best[0]:
        best = (distance, along, 0.0)
    return best


@compiled(
    types.void(
        types.Array(types.float64, 2, "C", readonly=True),
        _indices,
        types.float64,
        types.Array(types.float64, 2, "C"),
        types.Array(types.int32, 2, "C"),
        types.Array(types.float32, 3, "C"),
    )
)
def texture_layout(
    points: Array, triangles: Array, margin: float, distances: Array, triangle: Array, weights: Array
) -> None:
    """Fill the last three arrays (`stream.compute.texture_project`).

    :param points: (V, 2) UV in texels, 0 at the first texel's centre.
    :param distances: (T, T), squared, to the nearest triangle so far; comes filled with ``margin`` squared.
    """
    last = triangle.shape[0] - 1.0
    for t in range(triangles.shape[0]):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0:
            continue
        left = math.ceil(max(min(a[0], b[0], c[0]) - margin, 0.0))
        right = math.floor(min(max(a[0], b[0], c[0]) + margin, last))
        top = math.ceil(max(min(a[1], b[1], c[1]) - margin, 0.0))
        bottom = math.floor(min(max(a[1], b[1], c[1]) + margin, last))
        for i in range(top, bottom + 1):
            for j in range(left, right + 1):
                if triangle[i, j] >= 0 and distances[i, j] == 0:
                    continue
                distance, wa, wb = _nearest(float(j), float(i), a[0], a[1], b[0], b[1], c[0], c[1], area)
                # The nearest triangle, and of several equally near ones the first.
                if distance < distances[i, j] or (distance == distances[i, j] and triangle[i, j] < 0):
                    distances[i, j], triangle[i, j] = distance, t
                    weights[i, j, 0], weights[i, j, 1] = wa, wb
