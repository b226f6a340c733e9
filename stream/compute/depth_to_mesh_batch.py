"""`depth_to_mesh_batch`: a batch of depth maps, on the host or on the device, becomes triangle meshes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.dispatch import (
    ComputeArray,
    check_array,
    check_out,
    chosen_backend,
    device_empty,
    is_device,
    on_device,
    on_host,
)
from stream.compute.grid_views import COLUMNS, MAX_MM, MIN_Z_MM, check_views
from stream.errors import InputError

MASK_THRESHOLD = 0.5
DEPTH_JUMP = 0.1
"""Crop units between neighbouring pixels (as Algorithm 3, depth2mesh, of the thesis Prosopon began with)."""

MAX_SIZE = 2048
MAX_MAPS = 4096

WIDE = 512
"""Maps wider than this take the kernel that needs more shared memory; mirrors kernels/depth_to_mesh.cu."""


@dataclass(frozen=True, slots=True)
class GridMeshBatch:
    """N height fields' meshes over S x S grids, vertex ``row * S + column``; camera frame, mm.

    All arrays lie on the host or all on the device; there, any memory will do, such as mapped OpenGL buffers.

    :ivar vertices: (N, S * S, 3) float32, finite; those not in ``valid`` are not used by any triangle.
    :ivar normals: (N, S * S, 3) float32 unit vectors that face the camera; (0, 0, -1) where not ``valid``.
    :ivar triangles: (N, 2 (S-1)^2, 3) int32, counter-clockwise seen from the camera, row by row of the grid;
        of each mesh only the first ``counts`` are written.
    :ivar valid: (N, S * S) bool, the vertex belongs to a triangle.
    :ivar counts: (N,) int32 triangles.
    :ivar uv: (N, S * S, 2) float32, the pixel's centre in the crop's texture, origin at the top left. Depends
        on S only; ``None`` to save the writing.
    :ivar draw: (N, 5) uint32 commands of glDrawElementsIndirect for each mesh's own buffers, with which it is
        drawn without the host knowing its count; or ``None``.
    :ivar scratch: what the kernel needs on the device, not to be shared by calls that may overlap; ``None``
        on the host.
    """

    vertices: ComputeArray
    normals: ComputeArray
    triangles: ComputeArray
    valid: ComputeArray
    counts: ComputeArray
    uv: ComputeArray | None = None
    draw: ComputeArray | None = None
    scratch: ComputeArray | None = None


def mesh_buffers(
    maps: int, size: int, device: bool = False, uv: bool = True, draw: bool = True
) -> GridMeshBatch:
    """Uninitialised arrays for the meshes of ``maps`` maps of one size.

    :param device: on the current driver's device.
    :raises InputError: there is no map, or too many, or the size is not within 1..2048.
    :raises BackendError: there is no driver, or its memory is full.
    """
    check_counts(maps, size)
    empty: Callable[..., ComputeArray] = device_empty if device else np.empty
    shapes = buffer_shapes(maps, size)
    wanted = {"uv": uv, "draw": draw, "scratch": device}
    return GridMeshBatch(
        **{name: empty(*spec) if wanted.get(name, True) else None for name, spec in shapes.items()}
    )


def buffer_shapes(maps: int, size: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of each field of `GridMeshBatch`."""
    pixels, (_, strips) = size * size, strip_rows(size)
    return {
        "vertices": ((maps, pixels, 3), "float32"),
        "normals": ((maps, pixels, 3), "float32"),
        "triangles": ((maps, 2 * (size - 1) ** 2, 3), "int32"),
        "valid": ((maps, pixels), "bool"),
        "counts": ((maps,), "int32"),
        "uv": ((maps, pixels, 2), "float32"),
        "draw": ((maps, 5), "uint32"),
        "scratch": ((1 + maps * strips,), "uint32"),
    }


def strip_rows(size: int) -> tuple[int, int]:
    """Rows of the strips the CUDA kernel cuts a map into, and how many there are."""
    rows = min(size, (2048 if size <= WIDE else 4096) // size)
    return rows, -(-size // rows)


def depth_to_mesh_batch(
    depth: ComputeArray,
    mask: ComputeArray,
    views: ComputeArray,
    mask_threshold: float = MASK_THRESHOLD,
    depth_jump: float = DEPTH_JUMP,
    out: GridMeshBatch | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> GridMeshBatch:
    """`stream.compute.depth_to_mesh.depth_to_mesh` for N maps at once, in one pass.

    On the device nothing is waited for, and with ``out`` and ``views`` there nothing is copied or allocated.

    :param depth: (N, S, S) float32 crop units, positive away from the camera; NaN and inf are not usable.
    :param mask: (N, S, S) float32 in 0..1; NaN is not usable.
    :param views: (N, 12) float64 of `grid_views`. Those on the host are checked; for maps on the device views
        may be there too, and are to be checked by `check_views` before they are uploaded.
    :param mask_threshold: least mask value of a usable pixel.
    :param depth_jump: crop units between neighbours from which on they are different surfaces.
    :param out: buffers to write to, of `mesh_buffers`; a ``uv`` or ``draw`` that is ``None`` is not written.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; maps on the device become meshes there.
    :returns: ``out`` where it was given.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    buffers = () if out is None else [getattr(out, field.name) for field in fields(out)]
    backend = chosen_backend(compute, depth, mask, *buffers)
    depth = check_array("depth maps", depth, np.float32, (None, None, None))
    maps, size = depth.shape[:2]
    check_counts(maps, size)
    depth = check_array("depth maps", depth, np.float32, (maps, size, size))
    mask = check_array("masks", mask, np.float32, (maps, size, size))
    views = check_array("views", views, np.float64, (maps, COLUMNS))
    if isinstance(views, np.ndarray):
        check_views(views, size)
    elif not is_device(depth):
        raise InputError("Views on the device need depth maps on the device; bring all to one place.")
    check_limits(mask_threshold, depth_jump)
    if out is not None:
        out = _check_buffers(out, maps, size, is_device(depth))
    limits = (mask_threshold, depth_jump, MIN_Z_MM, MAX_MM)
    kernel = load_twin("depth_to_mesh", backend).depth_to_mesh_batch
    if backend == "numba":
        result = out or mesh_buffers(maps, size)
        kernel(depth, mask, views, *limits, result, None)
        return result
    queue = current_driver().default_stream if stream is None else stream
    if is_device(depth):
        result = out or mesh_buffers(maps, size, device=True)
        kernel(depth, mask, on_device(views, queue), *limits, result, queue)
        return result
    there = mesh_buffers(
        maps, size, True, out is None or out.uv is not None, out is None or out.draw is not None
    )
    arrays = [on_device(array, queue) for array in (depth, mask, views)]
    kernel(*arrays, *limits, there, queue)
    return _download(there, out, queue)


def check_limits(mask_threshold: float, depth_jump: float) -> None:
    """Refuse a threshold outside 0..1 and a jump that is no positive number.

    :raises InputError: as said.
    """
    if not (math.isfinite(depth_jump) and depth_jump > 0):
        raise InputError(f"depth_jump is {depth_jump} but must be a positive number.")
    if not 0 <= mask_threshold <= 1:
        raise InputError(f"mask_threshold is {mask_threshold} but must be between 0 and 1.")


def check_counts(maps: int, size: int) -> None:
    if not 1 <= maps <= MAX_MAPS:
        raise InputError(f"{maps} depth maps cannot become meshes at once; there must be 1 to {MAX_MAPS}.")
    if not 1 <= size <= MAX_SIZE:
        raise InputError(
            f"A depth map of size {size} cannot become a mesh; the size must be 1 to {MAX_SIZE}."
        )


def _check_buffers(out: GridMeshBatch, maps: int, size: int, device: bool) -> GridMeshBatch:
    checked: dict[str, ComputeArray | None] = {}
    for name, (shape, dtype) in buffer_shapes(maps, size).items():
        array = getattr(out, name)
        if array is None and (name in ("uv", "draw") or (name == "scratch" and not device)):
            checked[name] = None
            continue
        if array is None:
            raise InputError(f"The buffer {name} is missing; make the buffers with mesh_buffers.")
        checked[name] = check_out(name, array, dtype, shape)
    return GridMeshBatch(**checked)


def _download(meshes: GridMeshBatch, out: GridMeshBatch | None, queue: Stream) -> GridMeshBatch:
    arrays = {field.name: getattr(meshes, field.name) for field in fields(meshes) if field.name != "scratch"}
    return GridMeshBatch(
        **{
            name: on_host(array, None if out is None else getattr(out, name), queue)
            for name, array in arrays.items()
            if isinstance(array, DeviceArray)
        }
    )
