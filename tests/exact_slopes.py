"""Slopes of the depth map of a surface whose normals are known: what `stream.depth.slopes` must invert."""

import numpy as np

from stream.geometry import image_from_crop
from stream.types import Array, Crop


def slopes_from_normals(normal: Array, depth: Array, crop: Array, camera: Array, distance: Array) -> Array:
    """Slopes along x and y, (N, S, S, 2) float32; 0 where a normal is 0 or lies across its ray.

    By the formula at the top of `stream.depth.slopes`, which also says what the arguments are.
    """
    exact = (np.asarray(values, np.float64) for values in (normal, depth, crop, camera, distance))
    samples = zip(*exact, strict=True)
    return np.stack([_slopes(*sample) for sample in samples]).astype(np.float32)


def _slopes(normal: Array, depth: Array, crop: Array, camera: Array, distance: float) -> Array:
    size = len(depth)
    fx, fy, cx, cy = camera
    unit = crop[2] / fx * distance
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)
    matrix = image_from_crop(Crop(*crop), size)
    rays = (pixels @ matrix[:, :2].T + matrix[:, 2] - [cx, cy]) / [fx, fy]
    facing = (normal[..., :2] * rays).sum(axis=-1) + normal[..., 2]
    usable = np.abs(facing) > 1e-6
    scale = np.where(usable, -(distance + depth * unit) / np.where(usable, facing, 1), 0) / unit
    along = matrix[:, :2] * (size / 2) / [[fx], [fy]]  # how a ray changes with a crop unit to the right, down
    return normal[..., :2] @ along * scale[..., None]
