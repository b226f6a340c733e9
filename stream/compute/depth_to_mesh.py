"""`depth_to_mesh`: one depth map over a crop, on the host, becomes a triangle mesh in the camera frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from stream.compute.backends import AUTO, choose_backend, load_twin
from stream.compute.depth_to_mesh_batch import (
    DEPTH_JUMP,
    MASK_THRESHOLD,
    MAX_SIZE,
    check_limits,
    depth_to_mesh_batch,
)
from stream.compute.grid_views import MAX_MM, MIN_Z_MM, check_views, grid_views
from stream.errors import InputError
from stream.types import Array


@dataclass(frozen=True, slots=True)
class GridMesh:
    """A height field's mesh over an S x S grid, N = S * S, vertex ``row * S + column``; camera frame, mm.

    :ivar vertices: (N, 3) float32, finite; those not in ``valid`` are not used by any triangle.
    :ivar normals: (N, 3) float32 unit vectors that face the camera; (0, 0, -1) where not ``valid``.
    :ivar uv: (N, 2) float32, the pixel's centre in the crop's texture, origin at the top left.
    :ivar triangles: (M, 3) int32, counter-clockwise seen from the camera, row by row of the grid.
    :ivar valid: (N,) bool, the vertex belongs to a triangle.
    """

    vertices: Array
    normals: Array
    uv: Array
    triangles: Array
    valid: Array


def grid_buffers(size: int) -> GridMesh:
    """Uninitialised arrays for meshes of one size, ``triangles`` at its largest: (2 (S-1)^2, 3).

    :raises InputError: the size is not within 1..2048.
    """
    if not 1 <= size <= MAX_SIZE:
        raise InputError(
            f"A depth map of size {size} cannot become a mesh; the size must be 1 to {MAX_SIZE}."
        )
    count = size * size
    return GridMesh(
        vertices=np.empty((count, 3), np.float32),
        normals=np.empty((count, 3), np.float32),
        uv=np.empty((count, 2), np.float32),
        triangles=np.empty((2 * (size - 1) ** 2, 3), np.int32),
        valid=np.empty(count, np.bool_),
    )


def depth_to_mesh(
    depth: Array,
    mask: Array,
    image_from_crop: Array,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    distance: float,
    mm_per_unit: float,
    mask_threshold: float = MASK_THRESHOLD,
    depth_jump: float = DEPTH_JUMP,
    out: GridMesh | None = None,
    compute: str = AUTO,
) -> GridMesh:
    """Back-project a depth map and connect neighbouring pixels of the same surface.

    Pixel (u, v) of the image with depth d lies at Z = distance + d * mm_per_unit, X = (u - cx) / fx * Z,
    Y = (v - cy) / fy * Z. A pixel is usable if its mask reaches ``mask_threshold`` and its vertex is finite,
    at least 1 mm before the camera and within 1 km. Each quad of pixels gives the triangles (top left,
    bottom left, top right) and (top right, bottom left, bottom right) whose corners are all usable and
    less than ``depth_jump`` apart, pair by pair; where the other diagonal keeps more triangles it is taken,
    so one bad corner always leaves one triangle. Normals are the area-weighted mean of a vertex's
    triangles, hence one-sided at edges and never across a jump; all face the camera.

    What this rule leaves at the silhouette depends on S: see `stream.mesh.silhouette.depth_jump`. For maps
    on the device, or several: `stream.compute.depth_to_mesh_batch.depth_to_mesh_batch`.

    :param depth: (S, S) float32 crop units, positive away from the camera; NaN and inf are not usable.
    :param mask: (S, S) float32 in 0..1; NaN is not usable.
    :param image_from_crop: (2, 3), crop pixels of size S to image pixels (`stream.geometry`).
    :param fx, fy, cx, cy: the pinhole camera, image pixels.
    :param distance: Z of depth 0, mm.
    :param mm_per_unit: millimetres in one crop unit at that distance.
    :param mask_threshold: least mask value of a usable pixel.
    :param depth_jump: crop units between neighbours from which on they are different surfaces.
    :param out: buffers of `grid_buffers` to write to; the result then shares their memory.
    :param compute: ``auto``, ``numba`` or ``cuda``.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    backend = choose_backend(compute)
    size = check_maps(depth, mask)
    views = grid_views([image_from_crop], fx, fy, cx, cy, distance, mm_per_unit)
    check_views(views, size)
    check_limits(mask_threshold, depth_jump)
    buffers = grid_buffers(size) if out is None else _check_buffers(out, size)
    if backend == "cuda":
        meshes = depth_to_mesh_batch(
            depth[None], mask[None], views, mask_threshold, depth_jump, compute=backend
        )
        count = int(meshes.counts[0])
        for field in fields(buffers):
            filled = count if field.name == "triangles" else None
            getattr(buffers, field.name)[:filled] = getattr(meshes, field.name)[0][:filled]
        return replace(buffers, triangles=buffers.triangles[:count])
    count = load_twin("depth_to_mesh", backend).depth_to_mesh(
        np.ascontiguousarray(depth),
        np.ascontiguousarray(mask),
        views[0, :6].reshape(2, 3),
        *views[0, 6:].tolist(),
        float(mask_threshold),
        float(depth_jump),
        MIN_Z_MM,
        MAX_MM,
        buffers.vertices,
        buffers.normals,
        buffers.uv,
        buffers.triangles,
        buffers.valid,
    )
    return replace(buffers, triangles=buffers.triangles[:count])


def check_maps(depth: Array, mask: Array) -> int:
    """Size S of a depth map and its mask.

    :raises InputError: they are not both (S, S) float32 with S within 1..2048.
    """
    for name, array in (("depth map", depth), ("mask", mask)):
        if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 2:
            raise InputError(f"The {name} must be a float32 array of shape (S, S).")
    size = depth.shape[0]
    if depth.shape != (size, size) or mask.shape != depth.shape:
        raise InputError(
            f"The depth map is {depth.shape} and the mask {mask.shape}; both must be the same square."
        )
    if not 1 <= size <= MAX_SIZE:
        raise InputError(
            f"A depth map of size {size} cannot become a mesh; the size must be 1 to {MAX_SIZE}."
        )
    return size


def _check_buffers(out: GridMesh, size: int) -> GridMesh:
    count = size * size
    expected = {
        "vertices": ((count, 3), np.float32),
        "normals": ((count, 3), np.float32),
        "uv": ((count, 2), np.float32),
        "triangles": ((2 * (size - 1) ** 2, 3), np.int32),
        "valid": ((count,), np.bool_),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(out, name)
        fits = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype
        if not (fits and array.flags.c_contiguous and array.flags.writeable):
            raise InputError(f"The buffer {name} does not fit; make the buffers with grid_buffers({size}).")
    return out
