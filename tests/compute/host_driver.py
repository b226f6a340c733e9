"""A driver without a GPU: kernels as host C++, device memory on the heap, every call done at once."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stream.compute.cuda.driver import DeviceInfo
from stream.errors import BackendError
from stream.types import Array

_load = ctypes.CDLL
"""Kept, since tests put another in its place to act a machine with a CUDA driver."""

KERNELS = Path(__file__).parents[2] / "kernels"
FLAGS = (
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-shared",
    "-x",
    "c++",
    "-DPROSOPON_HOST",
    "-Wall",
    "-Wextra",
    "-Werror",
)
CHECKS = ("-fsanitize=undefined", "-fno-sanitize-recover=all", "-Wno-unknown-pragmas", "-ffp-contract=off")


@dataclass
class HostMemory:
    """Bytes of 0xFF: what is read before it is written becomes NaN or a wild index, and shows."""

    data: Array

    @property
    def pointer(self) -> int:
        return int(self.data.ctypes.data)

    @property
    def nbytes(self) -> int:
        return int(self.data.nbytes)


@dataclass(eq=False)
class HostStream:
    handle: int = 0


class HostDriver:
    """A stream that is captured keeps its work, with the addresses it named, until the graph is replayed."""

    name = "host"
    info = DeviceInfo("host C++", "host", 1 << 30, 1, "none")

    def __init__(self) -> None:
        self.captured: list[Callable[[], Any]] | None = None
        self.times = 0.0
        self.default_stream = HostStream()

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def kernel(self, family: str, name: str) -> Any:
        return library(family), name

    def launch(self, kernel: Any, grid: tuple[int, int, int], block: int, params: Array, stream: Any) -> None:
        code, name = kernel
        size = getattr(code, name + "_params")()
        assert size == params.dtype.itemsize, f"{name}: the struct has {size} bytes, {params.dtype} does not"
        record = np.ascontiguousarray(params).reshape(1).copy()
        self._queue(lambda: getattr(code, name)(ctypes.c_void_p(record.ctypes.data), *grid, block))

    def allocate(self, nbytes: int) -> HostMemory:
        assert self.captured is None, "nothing may be allocated during a capture"
        return HostMemory(np.full(nbytes, 0xFF, np.uint8))

    def pinned(self, shape: Sequence[int], dtype: str) -> Array:
        assert self.captured is None, "nothing may be allocated during a capture"
        return np.empty(tuple(shape), dtype)

    def upload(self, pointer: int, host: Array, stream: Any) -> None:
        self._queue(lambda: ctypes.memmove(pointer, host.ctypes.data, host.nbytes))

    def download(self, host: Array, pointer: int, stream: Any) -> None:
        self._queue(lambda: ctypes.memmove(host.ctypes.data, pointer, host.nbytes))

    def copy(self, target: int, origin: int, nbytes: int, stream: Any) -> None:
        self._queue(lambda: ctypes.memmove(target, origin, nbytes))

    def fill(self, pointer: int, value: int, nbytes: int, stream: Any) -> None:
        self._queue(lambda: ctypes.memset(pointer, value, nbytes))

    def stream(self) -> HostStream:
        return HostStream()

    def synchronize(self, stream: Any) -> None:
        assert self.captured is None, "nobody may wait during a capture"

    def event(self) -> list[float]:
        return [0.0]

    def record(self, event: list[float], stream: Any) -> None:
        self.times += 1.0
        event[0] = self.times

    def milliseconds(self, start: list[float], end: list[float]) -> float:
        return end[0] - start[0]

    def begin_capture(self, stream: Any) -> None:
        assert self.captured is None
        self.captured = []

    def end_capture(self, stream: Any) -> Any:
        graph, self.captured = self.captured, None
        return graph

    def replay(self, graph: Any, stream: Any) -> None:
        for work in graph:
            work()

    def register_gl_buffer(self, number: int) -> Any:
        raise BackendError("There is no GPU that OpenGL could share.")

    def unregister_gl_buffer(self, resource: Any) -> None: ...

    def map_gl_buffer(self, resource: Any, stream: Any) -> int:
        return int(resource)

    def unmap_gl_buffer(self, resource: Any, stream: Any) -> None: ...

    def _queue(self, work: Callable[[], Any]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)


class BackwardsDriver(HostDriver):
    """Runs the threads of each phase from the last to the first: what depends on their order shows."""

    def kernel(self, family: str, name: str) -> Any:
        return library(family, "-DPROSOPON_BACKWARDS"), name


class CountingDriver(HostDriver):
    """Counts allocations, and what comes back to the host."""

    allocations = 0
    downloads = 0

    def allocate(self, nbytes: int) -> HostMemory:
        self.allocations += 1
        return super().allocate(nbytes)

    def download(self, host: Array, pointer: int, stream: Any) -> None:
        self.downloads += 1
        super().download(host, pointer, stream)


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which("g++") or shutil.which("clang++")


@cache
def library(family: str, *defines: str) -> ctypes.CDLL:
    """kernels/``family``.cu as a shared library, kept by the hash of its sources."""
    sources = [KERNELS / f"{family}.cu", *sorted(KERNELS.glob("*.cuh")), *sorted(KERNELS.glob("host/*"))]
    contents = [*(path.read_bytes() for path in sources), *(define.encode() for define in defines)]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()[:16]
    folder = Path(__file__).parents[2] / "cache" / "host_kernels"
    built = folder / f"{family}-{digest}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = built.with_suffix(f".{os.getpid()}.part")  # another process may build it, too
        program = compiler()
        assert program is not None
        command = [program, *FLAGS, *defines, *CHECKS, f"-I{KERNELS}", str(sources[0]), "-o", str(part)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        part.rename(built)
    return _load(str(built))
