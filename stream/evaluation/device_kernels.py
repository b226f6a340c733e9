"""How fast the kernels run on a GPU: device time by events, beside what its memory can copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stream.compute.crop_normalize import crop_normalize, crop_table
from stream.compute.cuda.arrays import DeviceArray, empty, to_device
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.cuda.graphs import captured
from stream.compute.depth_to_mesh_batch import depth_to_mesh_batch, mesh_buffers
from stream.compute.expression_solve import expression_solve
from stream.compute.grid_views import grid_views
from stream.compute.mend_surface import mend_surface, surface_buffers
from stream.compute.resize_maps import DepthMaps, resize_maps
from stream.compute.smooth_depth import smooth_buffers, smooth_depth, smoothing_rates
from stream.compute.texture_project import TextureLayout, texture_layout, texture_project
from stream.types import Array

GROUPS, REPEATS = 25, 20
"""Measurements, and launches in each: one alone is shorter than what an event can tell."""

COPIED = 256 << 20
"""Bytes of the copy that tells the memory's bandwidth: far more than any cache holds."""


LEAST_BYTES = 150_000_000
"""Work of fewer bytes may stay in a large cache, so its share of the memory's bandwidth would say nothing."""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """Device time of one kernel, as part of a graph.

    :ivar work: what was worked on, in words.
    :ivar p50, p95: milliseconds of one run, over `GROUPS` means of `REPEATS` runs.
    :ivar gbytes: bytes that have to be moved, 1e9 (head comment of the kernel); ``None`` where arithmetic
        decides.
    :ivar share: of the measured copy bandwidth that these bytes reach at p50; ``None`` likewise, and where
        they may come from a cache (`LEAST_BYTES`).
    """

    name: str
    work: str
    p50: float
    p95: float
    gbytes: float | None
    share: float | None


def copy_bandwidth(driver: Driver, nbytes: int = COPIED) -> float:
    """Bytes a second that the device reads and writes while it copies within its memory: median of runs."""
    a, b, stream = empty(driver, (nbytes,), np.uint8), empty(driver, (nbytes,), np.uint8), driver.stream()
    driver.fill(a.pointer, 1, nbytes, stream)
    times = _times(driver, stream, lambda: driver.copy(b.pointer, a.pointer, nbytes, stream))
    return 2 * nbytes / (float(np.median(times)) / 1e3)


def kernel_times(driver: Driver, bandwidth: float, small: bool = False) -> list[KernelTime]:
    """Time each kernel family on work of the size that a busy server would give it.

    :param bandwidth: of `copy_bandwidth`.
    :param small: tiny work, to see that it runs.
    """
    stream, rng = driver.stream(), np.random.default_rng(0)
    cases = [_meshes(driver, stream, rng, small), *_surfaces(driver, stream, rng, small)]
    cases += [make(driver, stream, rng, small) for make in (_crops, _expressions, _texture)]
    driver.synchronize(driver.default_stream)  # on which the cases' arrays were uploaded
    return [_timed(driver, stream, bandwidth, *case) for case in cases]


_Case = tuple[str, str, float | None, Callable[[], object]]
"""Name, work, 1e9 bytes moved, and what queues one run."""


def _meshes(driver: Driver, stream: Stream, rng: np.random.Generator, small: bool) -> _Case:
    maps, size = (2, 24) if small else (64, 256)
    depth, mask = _head(driver, maps, size, rng)
    scale = 200 / size
    matrices = np.tile(np.array([[scale, 0, 220], [0, scale, 140]]), (maps, 1, 1))
    views = to_device(driver, grid_views(matrices, 700, 700, 319.5, 239.5, 600, 85))
    out = mesh_buffers(maps, size, device=True)
    run = partial(depth_to_mesh_batch, depth, mask, views, out=out, stream=stream)
    pixels, work = maps * size * size, f"{maps} maps of {size} x {size}"
    return "depth_to_mesh", work, pixels * 65 / 1e9, run


def _surfaces(driver: Driver, stream: Stream, rng: np.random.Generator, small: bool) -> list[_Case]:
    """What stands between the network and the meshes."""
    maps, larger, size = (2, 36, 24) if small else (64, 192, 128)
    raw = DepthMaps(*_head(driver, maps, larger, rng))
    new = resize_maps(raw, size, stream=stream)
    state = smooth_buffers(maps, size, False, device=True)
    driver.fill(state.depth.pointer, 0, state.depth.nbytes, stream)
    still = to_device(driver, np.ones((maps, size, size), np.float32))
    rates = to_device(driver, np.tile(smoothing_rates(1 / 30), (maps, 1)))
    out = surface_buffers(maps, size, device=True)
    work = f"{maps} maps of {size} x {size}"
    smooth = partial(smooth_depth, new, state, still, rates, out=state, stream=stream)
    mend = partial(mend_surface, new.depth, new.mask, 0.1, out=out, stream=stream)
    return [
        ("resize_maps", f"{work} of {larger} x {larger}", None, partial(resize_maps, raw, size, new, stream)),
        ("smooth_depth", work, None, smooth),
        ("mend_surface", work, None, mend),
    ]


def _crops(driver: Driver, stream: Stream, rng: np.random.Generator, small: bool) -> _Case:
    count, size, side = (2, 24, 64) if small else (256, 192, 720)
    image = rng.integers(0, 255, (side, side, 3), np.uint8)
    frames = [to_device(driver, image) for _ in range(count)]
    step = 0.5 * side / size
    matrices = np.tile(np.array([[step, 0, side / 4], [0, step, side / 4]]), (count, 1, 1))
    out, table = empty(driver, (count, 3, size, size), np.float32), crop_table(count)
    work = f"{count} frames of {side} x {side} to crops of {size} x {size}"
    gbytes = count * (3 * size * size * 4 + 3 * (side / 2) ** 2) / 1e9
    run = partial(
        crop_normalize, frames, np.arange(count), matrices, size, out=out, table=table, stream=stream
    )
    return "crop_normalize", work, gbytes, run


def _expressions(driver: Driver, stream: Stream, rng: np.random.Generator, small: bool) -> _Case:
    faces, points, count = (2, 40, 6) if small else (32, 5000, 52)
    basis = rng.normal(0, 1, (count, points, 3)).astype(np.float32)
    codes = np.clip(rng.normal(0.2, 0.4, (faces, count)), 0, 1).astype(np.float32)
    moved = np.einsum("fk,kpc->fpc", codes, basis) + rng.normal(0, 0.3, (faces, points, 3))
    given = (moved, basis, np.ones((faces, points)), np.clip(codes + 0.05, 0, 1))
    displacement, there, weights, previous = (to_device(driver, one.astype(np.float32)) for one in given)
    out = empty(driver, (faces, count), np.float32)
    run = partial(
        expression_solve, displacement, there, weights, previous, 1e-3, 1e-2, out=out, stream=stream
    )
    return "expression_solve", f"{faces} faces, {points} points, {count} coefficients", None, run


def _texture(driver: Driver, stream: Stream, rng: np.random.Generator, small: bool) -> _Case:
    grid, side = (6, 32) if small else (64, 2048)
    row, column = np.divmod(np.arange(grid * grid), grid)
    uv = np.stack([(column + 0.5) / grid, (row + 0.5) / grid], axis=1).astype(np.float32)
    corner = (np.arange(grid - 1)[:, None] * grid + np.arange(grid - 1)).reshape(-1, 1)
    around = np.array([(0, grid, 1), (1, grid, grid + 1)])
    triangles = (corner[:, None] + around).reshape(-1, 3).astype(np.int32)
    vertices = np.stack(
        [(column / grid - 0.5) * 200, (row / grid - 0.5) * 200, np.full(grid**2, 600)], axis=1
    )
    normals = np.tile(np.array([0, 0, -1], np.float32), (grid * grid, 1))
    image = rng.integers(0, 255, (480, 640, 3), np.uint8)
    layout = texture_layout(uv, triangles, side)
    there = partial(to_device, driver)
    run = partial(
        texture_project,
        there(image),
        there(vertices.astype(np.float32)),
        there(normals),
        there(triangles),
        TextureLayout(there(layout.triangle), there(layout.weights)),
        *(700.0, 700.0, 319.5, 239.5),
        depth=there(np.full((64, 64), np.inf, np.float32)),
        crop_from_image=np.array([[0.2, 0, -32.0], [0, 0.2, -16.0]]),
        texture=there(np.zeros((side, side, 3), np.float32)),
        confidence=there(np.zeros((side, side), np.float32)),
        keep=0.9,
        stream=stream,
    )
    return "texture_project", f"640 x 480 to {side} x {side}", side * side * 44 / 1e9, run


def _head(driver: Driver, maps: int, size: int, rng: np.random.Generator) -> tuple[DeviceArray, DeviceArray]:
    """Round heads of which two thirds of the pixels are surface, as in a crop."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    radius = np.hypot(axis[:, None], axis)
    depth = np.repeat((radius**2 * np.float32(0.5))[None], maps, axis=0)
    depth += rng.normal(0, 0.002, depth.shape).astype(np.float32)
    mask = np.repeat((radius < 0.92)[None], maps, axis=0).astype(np.float32)
    return to_device(driver, depth), to_device(driver, mask)


def _timed(
    driver: Driver, stream: Stream, bandwidth: float, name: str, work: str, gbytes: float | None, run: Any
) -> KernelTime:
    p50, p95 = (float(value) for value in np.percentile(_times(driver, stream, run), (50, 95)))
    uncached = gbytes is not None and gbytes * 1e9 >= LEAST_BYTES
    share = gbytes * 1e9 / (p50 / 1e3) / bandwidth if uncached and gbytes is not None else None
    return KernelTime(name, work, p50, p95, gbytes, share)


def _times(driver: Driver, stream: Stream, run: Callable[[], object]) -> Array:
    """(GROUPS,) milliseconds of one run.

    Runs are captured into a graph of `REPEATS`: queued one by one, they would wait for Python in between.
    """
    run()
    driver.synchronize(stream)

    def queue() -> None:
        for _ in range(REPEATS):
            run()

    graph = captured(driver, stream, queue)
    driver.replay(graph, stream)
    times = []
    for _ in range(GROUPS):
        start, end = driver.event(), driver.event()
        driver.record(start, stream)
        driver.replay(graph, stream)
        driver.record(end, stream)
        times.append(driver.milliseconds(start, end) / REPEATS)
    return np.array(times)
