"""From slopes of the depth map to surface normals in camera space, exactly.

A depth map's slopes (crop units of depth per crop unit of picture) are those of a height field over
perspective rays; the surface's normals are in camera space. The tangent plane with normal n at a point
seen along the ray r = (x', y', 1) at distance Z along the camera's axis is met by other rays at
Z(r') = Z (n.r) / (n.r'), so that

    dZ/dx' = -Z n_x / (n.r)        dZ/dy' = -Z n_y / (n.r)

and the crop's similarity takes x', y' to crop coordinates. No approximation is made.

All arrays are batched: N samples of S x S pixels; ``crop`` (N, 4) holds x, y, half, angle, ``camera`` (N, 4)
fx, fy, cx, cy, ``distance`` (N,) the camera depth in mm at which depth is 0 (`stream.types.Crop`,
`stream.types.Intrinsics`).
"""

from __future__ import annotations

import numpy as np

from stream.types import Array


def normals_from_slopes(slopes: Array, depth: Array, crop: Array, camera: Array, distance: Array) -> Array:
    """Unit normals (N, S, S, 3) float32, camera frame, towards the camera.

    :param slopes: (N, S, S, 2) along x and y.
    :param depth: (N, S, S) crop units along the camera's axis.
    """
    rays, along, unit = _rays(depth.shape[-1], crop, camera, distance)
    z = distance[:, None, None] + depth.astype(np.float32) * unit[:, None, None]
    flat = np.einsum("nji,nhwj->nhwi", np.linalg.inv(along), slopes.astype(np.float32))
    flat = flat * (unit[:, None, None] / z)[..., None]
    # Scaled so that n.r = -1, which is towards the camera.
    last = -1 - (flat * rays[..., :2]).sum(axis=-1)
    normal = np.concatenate([flat, last[..., None]], axis=-1)
    return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)


def slopes_of(depth: Array) -> Array:
    """Slopes along x and y, (N, S, S, 2) float32, of depth maps (N, S, S): central differences."""
    slope_y, slope_x = np.gradient(depth.astype(np.float32), 2 / depth.shape[-1], axis=(1, 2))
    return np.stack([slope_x, slope_y], axis=-1)


def _rays(size: int, crop: Array, camera: Array, distance: Array) -> tuple[Array, Array, Array]:
    """Rays (N, S, S, 3), their change per crop unit (N, 2, 2), ray axis first, and mm per crop unit (N,)."""
    x, y, half, angle = crop.astype(np.float64).T
    fx, fy, cx, cy = camera.astype(np.float64).T
    c, s = np.cos(angle) * half, np.sin(angle) * half
    along = np.stack([np.stack([c / fx, -s / fx], -1), np.stack([s / fy, c / fy], -1)], 1)
    centre = np.stack([(x - cx) / fx, (y - cy) / fy], -1)
    axis = (2 * np.arange(size) + 1) / size - 1
    grid = np.stack(np.meshgrid(axis, axis), -1)
    flat = centre[:, None, None] + np.einsum("nij,hwj->nhwi", along, grid)
    rays = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], -1)
    return rays.astype(np.float32), along.astype(np.float32), (half / fx * distance).astype(np.float32)
