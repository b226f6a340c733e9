"""`expression_solve` on the GPU."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

import numpy as np

from stream.compute.cuda.arrays import DeviceArray, empty
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Driver, Stream

FAMILY = "expression_solve"

CHUNK, STRIP, GROUP, MAX_K = 64, 16, 8, 64
"""As in kernels/expression_solve.cu."""

_POINTERS = (
    "displacement",
    "basis",
    "weights",
    "previous",
    "start",
    "out",
    "normal_parts",
    "normal",
    "pull_parts",
)
_PARAMS = np.dtype(
    [
        *((name, "u8") for name in _POINTERS),
        ("l2", "f8"),
        ("temporal", "f8"),
        ("max_mm", "f4"),
        ("max_weight", "f4"),
        ("faces", "i4"),
        ("points", "i4"),
        ("count", "i4"),
    ],
    align=True,
)

_scratch: WeakKeyDictionary[Stream, dict[int, DeviceArray]] = WeakKeyDictionary()

_lock = threading.Lock()
"""Held for all launches of a call: threads may share a stream, and so its scratch memory."""


def expression_solve(
    displacement: DeviceArray,
    basis: DeviceArray,
    weights: DeviceArray,
    previous: DeviceArray,
    l2: float,
    temporal: float,
    max_mm: float,
    max_weight: float,
    out: DeviceArray,
    stream: Stream,
) -> None:
    """Queue the filling of ``out`` (`stream.compute.expression_solve`): six launches."""
    driver = current_driver()
    faces, (count, points, _) = weights.shape[0], basis.shape
    across, chunks, strips = -(-count // 4), -(-points // CHUNK), -(-points // STRIP)
    blocks = across * (across + 1) // 2
    sizes = (
        faces * chunks * blocks * 64,
        faces * blocks * 128,
        faces * strips * MAX_K * 8,
        faces * count * 4,
    )
    params = np.zeros(1, _PARAMS)
    for name, array in {"displacement": displacement, "basis": basis, "weights": weights}.items():
        params[name] = array.pointer
    params["previous"] = params["start"] = previous.pointer
    params["l2"], params["temporal"] = l2, temporal
    params["max_mm"], params["max_weight"] = max_mm, max_weight
    params["faces"], params["points"], params["count"] = faces, points, count

    def launch(name: str, grid: tuple[int, int, int], block: int) -> None:
        driver.launch(driver.kernel(FAMILY, name), grid, block, params, stream)

    together = 1 if faces == 1 else 4
    with _lock:
        normal_parts, normal, pull_parts, code = _places(driver, stream, sizes)
        params["normal_parts"], params["normal"], params["pull_parts"] = normal_parts, normal, pull_parts
        # The first answer goes to scratch: ``out`` may be ``previous``, which is needed till the end.
        params["out"] = code
        launch(f"expression_normal_{together}", (chunks, -(-faces // together), 1), -(-blocks // 32) * 32)
        launch("expression_sum", (-(-blocks * 16 // 128), faces, 1), 128)
        for _ in range(2):
            launch("expression_gradient", (strips, -(-faces // GROUP), 1), 256)
            launch("expression_solve", (faces, 1, 1), 256)
            params["start"], params["out"] = code, out.pointer


def _places(driver: Driver, stream: Stream, sizes: tuple[int, ...]) -> list[int]:
    """Addresses of aligned parts of the stream's scratch memory, which its launches use one after another.

    It stays: a call of a size seen before allocates nothing, as CUDA graphs want it.
    """
    ends = np.cumsum([-(-size // 256) * 256 for size in sizes])
    capacity = 1 << int(ends[-1] - 1).bit_length()
    buffers = _scratch.setdefault(stream, {})
    if capacity not in buffers:
        buffers[capacity] = empty(driver, (capacity,), np.uint8)
    base = buffers[capacity].pointer
    return [base + int(start) for start in (0, *ends[:-1])]
