"""Hand-made meshes whose pictures are known."""

from __future__ import annotations

import numpy as np
from people import capture_with

from stream.types import Crop, Face, Frame, Intrinsics, Mesh

PLAIN = Intrinsics(400.0, 400.0, 63.5, 63.5, 128, 128)


def grid_triangles(rows: int, columns: int):
    """Two triangles a cell, counter-clockwise as seen by the camera (y down)."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    halves = [np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))]
    return np.concatenate(halves)


def sheet(points, normals=None, uv=None, texture=None, intrinsics=None, depth=None):
    """A mesh from a (R, C, 3) grid of camera points, or of image points with ``depth`` (R, C) mm."""
    points = np.asarray(points, dtype=np.float64)
    if depth is not None:
        k = intrinsics
        x = (points[..., 0] - k.cx) / k.fx * depth
        y = (points[..., 1] - k.cy) / k.fy * depth
        points = np.stack([x, y, depth], axis=-1)
    rows, columns = points.shape[:2]
    count = rows * columns
    if normals is None:
        normals = np.broadcast_to([0.0, 0.0, -1.0], (count, 3))
    if uv is None:
        v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
        uv = np.stack([u, v], axis=-1)
    if texture is None:
        texture = np.full((8, 8, 3), 255, dtype=np.uint8)
    return Mesh(
        vertices=points.reshape(-1, 3).astype(np.float32),
        normals=np.ascontiguousarray(normals, dtype=np.float32).reshape(-1, 3),
        uv=np.asarray(uv, dtype=np.float32).reshape(-1, 2),
        triangles=grid_triangles(rows, columns),
        valid=np.ones(count, dtype=bool),
        texture=texture,
    )


def square(side=60.0, z=600.0, x=0.0, y=0.0, cells=4, tilt=0.0, colour=(255, 255, 255), **parts):
    """A flat square of ``side`` mm; ``tilt`` is dz/dx."""
    line = np.linspace(-side / 2, side / 2, cells + 1)
    dx, dy = np.meshgrid(line, line)
    points = np.stack([dx + x, dy + y, z + tilt * dx], axis=-1)
    texture = np.empty((8, 8, 3), dtype=np.uint8)
    texture[...] = colour
    return sheet(points, texture=texture, **parts)


def capture_of(*meshes, image=None, captured=0.0, intrinsics=None):
    """A capture with these meshes and as many made-up faces."""
    if image is None:
        image = np.full((96, 128, 3), 90, dtype=np.uint8)
    height, width = image.shape[:2]
    k = intrinsics or Intrinsics(400.0, 400.0, (width - 1) / 2, (height - 1) / 2, width, height)
    landmarks = np.zeros((478, 3), dtype=np.float32)
    landmarks[:, :2] = np.random.default_rng(0).uniform(0.3, 0.7, (478, 2)) * (width, height)
    face = Face(1, landmarks, np.eye(4, dtype=np.float32), Crop(width / 2, height / 2, height / 3, 0.1), k)
    return capture_with(Frame(image, captured, 0, "test"), (face,) * len(meshes), meshes=meshes)
