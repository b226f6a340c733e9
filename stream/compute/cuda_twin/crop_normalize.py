"""`crop_normalize` on the GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from stream.compute.cuda.arrays import DeviceArray, empty
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.nv12 import BT601, PitchedNv12
from stream.types import Array

TILE_X, TILE_Y = 32, 8

KINDS = {"float32": 0, "float16": 1, "uint8": 2}

_PARAMS = np.dtype(
    [
        ("crops", "u8"),
        ("out", "u8"),
        ("size", "i4"),
        ("kind", "i4"),
        ("red", "i4"),
        ("decoding", "f4", (6,)),
    ],
    align=True,
)

_tables: WeakKeyDictionary[Stream, dict[int, DeviceArray]] = WeakKeyDictionary()

_lock = threading.Lock()
"""Held while a table is filled and read by a launch: threads may share a stream, and so a table."""


def crop_normalize(
    frames: Sequence[DeviceArray | PitchedNv12],
    records: Array,
    layout: str,
    out: DeviceArray,
    table: Any,
    stream: Stream,
) -> None:
    """Queue the filling of ``out``, (N, 3, S, S) or bytes (N, S, S, 3) (`stream.compute.crop_normalize`).

    :param records: (N,) as planned; the first N of ``table.host`` where a table is given.
    """
    driver = current_driver()
    count, size = len(records), out.shape[2]
    if count == 0:
        return
    params = np.zeros(1, _PARAMS)
    params["out"], params["size"] = out.pointer, size
    params["kind"], params["red"] = KINDS[out.dtype.name], 2 if layout == "bgr" else 0
    params["decoding"] = frames[0].decoding if isinstance(frames[0], PitchedNv12) else BT601
    kernel = driver.kernel("crop_normalize", "crop_nv12" if layout == "nv12" else "crop_packed")
    grid = (-(-size // TILE_X), -(-size // TILE_Y), count)
    with _lock:
        device = _table(driver, stream, count, records.dtype) if table is None else table.device
        driver.upload(device.pointer, records, stream)
        params["crops"] = device.pointer
        driver.launch(kernel, grid, TILE_X * TILE_Y, params, stream)


def _table(driver: Driver, stream: Stream, count: int, dtype: np.dtype[Any]) -> DeviceArray:
    """Room for the records on the device, one for each stream, since a stream's work runs in its order."""
    capacity = max(16, 1 << (count - 1).bit_length())
    tables = _tables.setdefault(stream, {})
    if capacity not in tables:
        tables[capacity] = empty(driver, (capacity * dtype.itemsize,), np.uint8)
    return tables[capacity]
