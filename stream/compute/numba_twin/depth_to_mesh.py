"""`depth_to_mesh` on the CPU."""

from __future__ import annotations

import numpy as np
from numba import types

from stream.compute.depth_to_mesh_batch import GridMeshBatch
from stream.compute.numba_twin.back_project import place
from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

ACB, BCD, ACD, ADB = range(4)
"""The four triangles of a quad with corners a b / c d; the first two share the usual diagonal."""


ONE = np.uintp(1)
"""Columns are unsigned where a loop may start anywhere: numba's check for negative ones is slow."""


@inline
def _choose(depth: Array, usable: Array, i: int, first: int, end: int, jump: float, kept: Array) -> None:
    """Which triangles of the quads (a b / c d) below row i are kept: rows `ACB`, `BCD`, `ACD`, `ADB`."""
    for j in range(np.uintp(first), np.uintp(end)):
        da, db, dc, dd = depth[i, j], depth[i, j + ONE], depth[i + 1, j], depth[i + 1, j + ONE]
        a, b, c, d = usable[i, j], usable[i, j + ONE], usable[i + 1, j], usable[i + 1, j + ONE]
        ab, ac = (abs(da - db) < jump) & a & b, (abs(da - dc) < jump) & a & c
        cd, bd = (abs(dc - dd) < jump) & c & d, (abs(db - dd) < jump) & b & d
        bc, ad = abs(db - dc) < jump, abs(da - dd) < jump
        acb, bcd, acd, adb = ab & ac & bc, bd & cd & bc, ac & cd & ad, ab & bd & ad
        # The other diagonal only where it saves more: a topology that stays does not flicker.
        turn = np.int8(acd) + np.int8(adb) > np.int8(acb) + np.int8(bcd)
        stay = not turn
        kept[ACB, j + ONE], kept[BCD, j + ONE] = acb & stay, bcd & stay
        kept[ACD, j + ONE], kept[ADB, j + ONE] = acd & turn, adb & turn


@inline
def _measure(vertices: Array, i: int, first: int, end: int, kept: Array, areas: Array) -> None:
    """Area vectors (x, y, z) of the kept triangles below row i, zero for the others."""
    for j in range(np.uintp(first), np.uintp(end)):
        ax, ay, az = vertices[i, j, 0], vertices[i, j, 1], vertices[i, j, 2]
        bx, by, bz = vertices[i, j + ONE, 0] - ax, vertices[i, j + ONE, 1] - ay, vertices[i, j + ONE, 2] - az
        cx, cy, cz = vertices[i + 1, j, 0] - ax, vertices[i + 1, j, 1] - ay, vertices[i + 1, j, 2] - az
        dx, dy = vertices[i + 1, j + ONE, 0] - ax, vertices[i + 1, j + ONE, 1] - ay
        dz = vertices[i + 1, j + ONE, 2] - az
        ex, ey, ez = cx - bx, cy - by, cz - bz
        gx, gy, gz = dx - bx, dy - by, dz - bz
        column = j + ONE
        acb, bcd, acd, adb = kept[ACB, column], kept[BCD, column], kept[ACD, column], kept[ADB, column]
        zero = np.float32(0)
        areas[ACB, 0, column] = cy * bz - cz * by if acb else zero
        areas[ACB, 1, column] = cz * bx - cx * bz if acb else zero
        areas[ACB, 2, column] = cx * by - cy * bx if acb else zero
        areas[BCD, 0, column] = ey * gz - ez * gy if bcd else zero
        areas[BCD, 1, column] = ez * gx - ex * gz if bcd else zero
        areas[BCD, 2, column] = ex * gy - ey * gx if bcd else zero
        areas[ACD, 0, column] = cy * dz - cz * dy if acd else zero
        areas[ACD, 1, column] = cz * dx - cx * dz if acd else zero
        areas[ACD, 2, column] = cx * dy - cy * dx if acd else zero
        areas[ADB, 0, column] = dy * bz - dz * by if adb else zero
        areas[ADB, 1, column] = dz * bx - dx * bz if adb else zero
        areas[ADB, 2, column] = dx * by - dy * bx if adb else zero


@inline
def _append(triangles: Array, count: int, p: int, q: int, r: int) -> int:
    """Store one triangle; the slot is unsigned because numba's check for negative indices is slow."""
    slot = np.uintp(count)
    triangles[slot, 0], triangles[slot, 1], triangles[slot, 2] = p, q, r
    return count + 1


@inline
def _store(kept: Array, i: int, first: int, end: int, size: int, count: int, triangles: Array) -> int:
    """Append the triangles below row i; returns the new count."""
    for j in range(first, end):
        a = np.int32(i * size + j)
        b, c, d = a + 1, a + size, a + size + 1
        if kept[ACB, j + 1]:
            count = _append(triangles, count, a, c, b)
        if kept[BCD, j + 1]:
            count = _append(triangles, count, b, c, d)
        if kept[ACD, j + 1]:
            count = _append(triangles, count, a, c, d)
        if kept[ADB, j + 1]:
            count = _append(triangles, count, a, d, b)
    return count


@inline
def _finish(
    below: Array,
    above: Array,
    areas_below: Array,
    areas_above: Array,
    sums: Array,
    i: int,
    first: int,
    end: int,
    normals: Array,
    valid: Array,
) -> None:
    """Normals and validity of row i from the triangles below and above it, of its columns from ``first``.

    Vertex j is corner a of the quad below right of it (column j + ONE), b below left (column j), c above
    right and d above left.
    """
    valid[i] = False
    for j in range(valid.shape[1]):
        normals[i, j, 0], normals[i, j, 1], normals[i, j, 2] = np.float32(0), np.float32(0), np.float32(-1)
    for j in range(np.uintp(first), np.uintp(end)):
        r = j + ONE
        valid[i, j] = (
            (below[ACB, r] | below[ACD, r] | below[ADB, r])
            | (below[ACB, j] | below[BCD, j] | below[ADB, j])
            | (above[ACB, r] | above[BCD, r] | above[ACD, r])
            | (above[BCD, j] | above[ACD, j] | above[ADB, j])
        )
    for k in range(3):
        for j in range(np.uintp(first), np.uintp(end)):
            r = j + ONE
            sums[k, j] = (
                (areas_below[ACB, k, r] + areas_below[ACD, k, r] + areas_below[ADB, k, r])
                + (areas_below[ACB, k, j] + areas_below[BCD, k, j] + areas_below[ADB, k, j])
                + (areas_above[ACB, k, r] + areas_above[BCD, k, r] + areas_above[ACD, k, r])
                + (areas_above[BCD, k, j] + areas_above[ACD, k, j] + areas_above[ADB, k, j])
            )
    for j in range(np.uintp(first), np.uintp(end)):
        x, y, z = sums[0, j], sums[1, j], sums[2, j]
        length = np.sqrt(x * x + y * y + z * z)
        good = valid[i, j] and length > np.float32(0)
        scale = np.float32(1) / length if good else np.float32(0)
        normals[i, j, 0], normals[i, j, 1] = x * scale, y * scale
        normals[i, j, 2] = z * scale if good else np.float32(-1)


_image = types.Array(types.float32, 2, "C", readonly=True)
_rows = types.Array(types.float32, 2, "C")


@compiled(
    types.int64(
        _image,
        _image,
        types.Array(types.float64, 2, "C", readonly=True),
        *[types.float64] * 10,
        _rows,
        _rows,
        _rows,
        types.Array(types.int32, 2, "C"),
        types.Array(types.boolean, 1, "C"),
    )
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
    mask_threshold: float,
    depth_jump: float,
    least_z: float,
    reach: float,
    vertices: Array,
    normals: Array,
    uv: Array,
    triangles: Array,
    valid: Array,
) -> int:
    """Fill the last five arrays and return the number of triangles (`stream.compute.depth_to_mesh`)."""
    size = depth.shape[0]
    vertex_grid, normal_grid = vertices.reshape(size, size, 3), normals.reshape(size, size, 3)
    valid_grid = valid.reshape(size, size)
    usable, spans = np.empty((size, size), np.bool_), np.empty((size, 2), np.int64)
    place(
        depth,
        mask,
        image_from_crop,
        fx,
        fy,
        cx,
        cy,
        distance,
        mm_per_unit,
        mask_threshold,
        least_z,
        reach,
        vertex_grid,
        uv.reshape(size, size, 2),
        usable,
        spans,
    )
    # Two rows of quads, used in turn; the quad right of column j is at j + 1, with a pad at either end.
    kept = np.zeros((2, 4, size + 1), np.bool_)
    areas = np.zeros((2, 4, 3, size + 1), np.float32)
    sums = np.empty((3, size), np.float32)
    count = 0
    for i in range(size):
        now, before = i % 2, (i + 1) % 2
        kept[now] = False
        areas[now] = 0
        if i < size - 1:
            # A triangle has a usable corner at either side of its quad.
            first, end = min(spans[i, 0], spans[i + 1, 0]), max(spans[i, 1], spans[i + 1, 1], 1) - 1
            _choose(depth, usable, i, first, end, np.float32(depth_jump), kept[now])
            _measure(vertex_grid, i, first, end, kept[now], areas[now])
            count = _store(kept[now], i, first, end, size, count, triangles)
        first, end = spans[i, 0], spans[i, 1]
        _finish(
            kept[now], kept[before], areas[now], areas[before], sums, i, first, end, normal_grid, valid_grid
        )
    return count


def depth_to_mesh_batch(
    depth: Array,
    mask: Array,
    views: Array,
    mask_threshold: float,
    depth_jump: float,
    least_z: float,
    reach: float,
    out: GridMeshBatch,
    stream: None,
) -> None:
    """Fill ``out``, one map after another (`stream.compute.depth_to_mesh_batch`)."""
    limits = (mask_threshold, depth_jump, least_z, reach)
    depth, mask, views = (np.ascontiguousarray(array) for array in (depth, mask, views))
    for n, (one, view) in enumerate(zip(depth, views, strict=True)):
        uv = np.empty((one.size, 2), np.float32) if out.uv is None else out.uv[n]
        out.counts[n] = depth_to_mesh(
            one,
            mask[n],
            view[:6].reshape(2, 3),
            *view[6:].tolist(),
            *limits,
            out.vertices[n],
            out.normals[n],
            uv,
            out.triangles[n],
            out.valid[n],
        )
        if out.draw is not None:
            out.draw[n] = (3 * out.counts[n], 1, 0, 0, 0)
