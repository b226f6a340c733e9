"""`crop_normalize` on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from stream.compute.numba_twin.compiling import compiled, inline
from stream.types import Array

ONE = np.float32(1)

Colour = tuple[np.float32, np.float32, np.float32]


@inline
def _decoded(frame: Array, width: int, height: int, x: int, y: int) -> Colour:
    """A pixel of an NV12 frame (H * 3 / 2, W): BT.601, limited range.

    A chroma sample lies on an even column, midway between two rows.
    """
    left, right = x & ~1, min((x + 1) & ~1, width - 2)
    near = y // 2
    far = min(max(near + (1 if y & 1 else -1), 0), height // 2 - 1)
    near, far = near + height, far + height
    u = 3 * (int(frame[near, left]) + int(frame[near, right]))
    u += int(frame[far, left]) + int(frame[far, right])
    v = 3 * (int(frame[near, left + 1]) + int(frame[near, right + 1]))
    v += int(frame[far, left + 1]) + int(frame[far, right + 1])
    luma = 1.1643836 * (float(frame[y, x]) - 16.0)
    blue, red = u / 8 - 128, v / 8 - 128
    return (
        np.float32(min(max(luma + 1.5960268 * red, 0.0), 255.0)),
        np.float32(min(max(luma - 0.3917623 * blue - 0.8129676 * red, 0.0), 255.0)),
        np.float32(min(max(luma + 2.0172321 * blue, 0.0), 255.0)),
    )


@inline
def _fetch(frame: Array, width: int, height: int, red: int, x: int, y: int) -> Colour:
    """R, G and B of a pixel; a packed frame comes flat, so that its type tells numba which branch is dead."""
    if frame.ndim == 2:
        return _decoded(frame, width, height, x, y)
    at = (y * width + x) * 3
    return np.float32(frame[at + red]), np.float32(frame[at + 1]), np.float32(frame[at + 2 - red])


@inline
def _bilinear(
    frame: Array, width: int, height: int, red: int, last_x: int, last_y: int, x: float, y: float
) -> Colour:
    left, top = int(x), int(y)
    right, bottom = min(left + 1, last_x), min(top + 1, last_y)
    across, down = np.float32(x - left), np.float32(y - top)
    a = _fetch(frame, width, height, red, left, top)
    b = _fetch(frame, width, height, red, right, top)
    c = _fetch(frame, width, height, red, left, bottom)
    d = _fetch(frame, width, height, red, right, bottom)
    wa, wb = (ONE - across) * (ONE - down), across * (ONE - down)
    wc, wd = (ONE - across) * down, across * down
    return (
        wa * a[0] + wb * b[0] + wc * c[0] + wd * d[0],
        wa * a[1] + wb * b[1] + wc * c[1] + wd * d[1],
        wa * a[2] + wb * b[2] + wc * c[2] + wd * d[2],
    )


@inline
def _spread(place: float, box: float, side: int, stride: int, shares: Array) -> tuple[int, int]:
    """Shares of the cells of ``stride`` frame pixels in the two boxes that ``place`` lies between.

    Returns the first cell and how many there are.
    """
    index = int(place)
    far = place - index
    start, middle, end = index * box, (index + 1) * box, min(index + 2, side) * box
    first = int(start) // stride
    count = (math.ceil(end) + stride - 1) // stride - first
    for cell in range(count):
        low = float((first + cell) * stride)
        high = low + stride
        shares[cell] = (1.0 - far) * max(min(high, middle) - max(low, start), 0.0)
        shares[cell] += far * max(min(high, end) - max(low, middle), 0.0)
    return first, count


@inline
def _averaged(
    frame: Array,
    width: int,
    height: int,
    red: int,
    box: Array,
    origin: Array,
    side: Array,
    stride: Array,
    x: float,
    y: float,
    shares: Array,
) -> Colour:
    left, columns = _spread(x, float(box[0]), side[0], stride[0], shares[0])
    top, rows = _spread(y, float(box[1]), side[1], stride[1], shares[1])
    r = g = b = total = np.float32(0)
    for i in range(rows):
        v = min(origin[1] + (top + i) * stride[1] + stride[1] // 2, height - 1)
        for j in range(columns):
            u = min(origin[0] + (left + j) * stride[0] + stride[0] // 2, width - 1)
            part = shares[1, i] * shares[0, j]
            colour = _fetch(frame, width, height, red, u, v)
            r += part * colour[0]
            g += part * colour[1]
            b += part * colour[2]
            total += part
    return r / total, g / total, b / total


_integers = types.Array(types.int32, 1, "C", readonly=True)
_floats = types.Array(types.float32, 1, "C", readonly=True)


def _signature(axes: int) -> Any:
    """For packed frames, flat, or NV12 ones."""
    frame = types.Array(types.uint8, axes, "C", readonly=True)
    crop = types.Array(types.float32, 3, "C")
    return types.void(frame, *[types.int64] * 3, _floats, _floats, _integers, _integers, _integers, crop)


@compiled([_signature(1), _signature(2)])
def _crop(
    frame: Array,
    width: int,
    height: int,
    red: int,
    matrix: Array,
    box: Array,
    origin: Array,
    side: Array,
    stride: Array,
    out: Array,
) -> None:
    """One crop into ``out`` (3, S, S)."""
    size = out.shape[1]
    last_x, last_y = int(side[0]) - 1, int(side[1]) - 1
    shrunk = box[0] > 1 or box[1] > 1
    cells = int(max(box[0] / stride[0], box[1] / stride[1]) * 2) + 4
    shares = np.empty((2, cells), np.float32)
    scale = np.float32(2.0 / 255.0)
    m = matrix.astype(np.float64)
    for i in range(size):
        for j in range(size):
            x = min(max(m[0] * j + m[1] * i + m[2], 0.0), float(last_x))
            y = min(max(m[3] * j + m[4] * i + m[5], 0.0), float(last_y))
            if shrunk:
                colour = _averaged(frame, width, height, red, box, origin, side, stride, x, y, shares)
            else:
                colour = _bilinear(frame, width, height, red, last_x, last_y, x, y)
            out[0, i, j] = colour[0] * scale - ONE
            out[1, i, j] = colour[1] * scale - ONE
            out[2, i, j] = colour[2] * scale - ONE


def crop_normalize(
    frames: Sequence[Array], records: Array, layout: str, out: Array, table: object, stream: object
) -> None:
    """Fill ``out``, (N, 3, S, S) or bytes (N, S, S, 3) (`stream.compute.crop_normalize`)."""
    for record, target in zip(records, out, strict=True):
        frame = frames[record["frame_of"]]
        # numba stores no float16 on the CPU, so numpy rounds (to nearest even).
        side = target.shape[1]
        crop = target if out.dtype == np.float32 else np.empty((3, side, side), np.float32)
        _crop(
            frame if layout == "nv12" else frame.reshape(-1),
            int(record["width"]),
            int(record["height"]),
            2 if layout == "bgr" else 0,
            record["matrix"],
            record["box"],
            record["origin"],
            record["side"],
            record["stride"],
            crop,
        )
        if out.dtype == np.uint8:
            target[...] = np.rint((crop.transpose(1, 2, 0) + ONE) * np.float32(127.5))
        elif crop is not target:
            target[...] = crop
