"""`mend_surface`: depth maps and masks become surfaces, without specks, threads, pinholes and saw teeth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.depth_to_mesh_batch import check_counts
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
from stream.errors import InputError

FARTHEST = 1.2
"""Crop units from the eyes' plane (about 14 cm): behind it are shoulders, not head, seen nearly edge-on."""

MAX_HOLE = 0.004
"""Share of the head's area up to which a hole in the mask is a mistake, 1 cm across: fingertips hide more."""

SURE = 0.5
"""Mean confidence of the depth in a hole below which it is not filled: something may be held there."""

MIN_PIECE = 0.1
"""Share of the largest piece's area from which another piece is kept, ..."""

PIECE_REACH = 0.65
"""... if its middle lies within this many crop units of the crop's: face beyond a hand, not a neighbour's."""

MAX_SHIFT = 0.15
"""Crop units: a rim pixel further than this from its neighbours' mean is not drawn to it."""

RIM_REACH = 3
"""Pixels to each side over which a rim is averaged."""


@dataclass(frozen=True, slots=True)
class SurfaceBatch:
    """N surfaces (`stream.types.Surface`), all on the host or all on the device.

    :ivar depth: (N, S, S) float32 crop units; finite wherever ``alpha`` is not 0.
    :ivar alpha: (N, S, S) float32 in 0..1, 0 where there is no surface.
    :ivar scratch: what the kernel needs on the device, not to be shared by calls that may overlap; ``None``
        on the host.
    """

    depth: ComputeArray
    alpha: ComputeArray
    scratch: ComputeArray | None = None

    def first(self, count: int) -> SurfaceBatch:
        """The first so many of them, in the same memory."""
        scratch = None if self.scratch is None else self.scratch[:count]
        return SurfaceBatch(self.depth[:count], self.alpha[:count], scratch)


def surface_buffers(maps: int, size: int, device: bool = False) -> SurfaceBatch:
    """Uninitialised arrays for the surfaces of ``maps`` maps of one size.

    :param device: on the current driver's device.
    :raises InputError: there is no map, or too many, or the size is not within 1..2048.
    :raises BackendError: there is no driver, or its memory is full.
    """
    check_counts(maps, size)
    empty: Callable[..., ComputeArray] = device_empty if device else np.empty
    depth, alpha = (empty((maps, size, size), np.float32) for _ in range(2))
    return SurfaceBatch(depth, alpha, empty((maps, scratch_words(size)), np.uint64) if device else None)


def scratch_words(size: int) -> int:
    """Words of 8 bytes that the CUDA kernel needs for a map: 24 bytes a label, three a pixel."""
    pixels = size * size
    return 3 * (pixels + 1) + -(-3 * pixels // 8)


def mend_surface(
    depth: ComputeArray,
    mask: ComputeArray,
    jump: float,
    confidence: ComputeArray | None = None,
    out: SurfaceBatch | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> SurfaceBatch:
    """The part of each depth map that becomes a mesh: a clean outline, smooth at its edges.

    First the mask. What is solid reaches `stream.compute.depth_to_mesh_batch.MASK_THRESHOLD`, with a depth
    that is finite and nearer than `FARTHEST`. Holes in it (4-connected, not touching the map's border) of up
    to `MAX_HOLE` are filled where the depth is sure (`SURE`); a larger one stays: it is a hand or an object
    before the face, which the network cuts out. Threads less than three pixels wide are cut (opening by a
    cross, then the majority of 5 x 5 pixels, which rounds a ragged outline; the map goes on beyond its border
    as it ends there), and so are pieces that are neither the largest nor a good part of the same face. Alpha
    is the mask where it was solid, 1 in filled holes, 0 elsewhere.

    Then the depth at edges, steps of ``jump`` and more. An outline crosses the pixel grid in steps, and where
    the surface falls away steeply, each such step moves the outline's depth by some millimetres: from the
    side, the mesh ends in saw teeth. The mean of the rim's own pixels in a window of 7 x 7 takes those away.
    A step inside the head (from chin to neck) has a near and a far rim, which are averaged apart; the pixels
    between them, to which a network blurs the step, belong to neither surface and are cut.

    On the device nothing is waited for, and with ``out`` there nothing is allocated.

    :param depth: (N, S, S) float32 crop units along the camera's axis.
    :param mask: (N, S, S) float32 in 0..1.
    :param jump: depth step between neighbours that are not connected (`stream.mesh.silhouette.depth_jump`).
    :param confidence: (N, S, S) float32 in 0..1; all is sure without.
    :param out: buffers to write to, of `surface_buffers`.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; maps on the device become surfaces there.
    :returns: ``out`` where it was given.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    buffers = () if out is None else (out.depth, out.alpha, out.scratch)
    backend = chosen_backend(compute, depth, mask, confidence, *buffers)
    depth = check_array("depth maps", depth, np.float32, (None, None, None))
    maps, size = depth.shape[:2]
    check_counts(maps, size)
    shape = (maps, size, size)
    given = [
        array if array is None else check_array(name, array, np.float32, shape)
        for name, array in (("depth maps", depth), ("masks", mask), ("confidence", confidence))
    ]
    if not (math.isfinite(jump) and jump > 0):
        raise InputError(f"The jump is {jump} but must be a positive number.")
    if out is not None:
        out = _checked(out, maps, size, is_device(depth))
    kernel = load_twin("mend_surface", backend).mend_surface
    if backend == "numba":
        result = out or surface_buffers(maps, size)
        kernel(*given, jump, result, None)
        return result
    queue = current_driver().default_stream if stream is None else stream
    there = out if out is not None and is_device(depth) else surface_buffers(maps, size, device=True)
    kernel(*(None if array is None else on_device(array, queue) for array in given), jump, there, queue)
    if is_device(depth):
        return there
    targets = (None, None) if out is None else (out.depth, out.alpha)
    return SurfaceBatch(*map(on_host, (there.depth, there.alpha), targets, (queue, queue)))


def _checked(out: SurfaceBatch, maps: int, size: int, device: bool) -> SurfaceBatch:
    depth, alpha = (
        check_out(name, array, np.float32, (maps, size, size))
        for name, array in (("depth", out.depth), ("alpha", out.alpha))
    )
    if not device:
        return SurfaceBatch(depth, alpha)
    if out.scratch is None:
        raise InputError("The buffer scratch is missing; make the buffers with surface_buffers.")
    scratch = check_out("scratch", out.scratch, np.uint64, (maps, scratch_words(size)))
    return SurfaceBatch(depth, alpha, scratch)
