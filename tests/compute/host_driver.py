"""A driver without a GPU: kernels as host C++, device memory on the heap, every call done at once."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from stream.compute.cuda.driver import DeviceInfo
from stream.types import Array

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


@dataclass
class HostStream:
    handle: int = 0


class HostDriver:
    name = "host"
    info = DeviceInfo("host C++", "host", 1 << 30, 1, "none")
    default_stream = HostStream()

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def kernel(self, family: str, name: str) -> Any:
        return library(family), name

    def launch(self, kernel: Any, grid: tuple[int, int, int], block: int, params: Array, stream: Any) -> None:
        code, name = kernel
        size = getattr(code, name + "_params")()
        assert size == params.dtype.itemsize, f"{name}: the struct has {size} bytes, {params.dtype} does not"
        record = np.ascontiguousarray(params).reshape(1)
        getattr(code, name)(ctypes.c_void_p(record.ctypes.data), *grid, block)

    def allocate(self, nbytes: int) -> HostMemory:
        return HostMemory(np.full(nbytes, 0xFF, np.uint8))

    def pinned(self, shape: Sequence[int], dtype: str) -> Array:
        return np.empty(tuple(shape), dtype)

    def upload(self, pointer: int, host: Array, stream: Any) -> None:
        ctypes.memmove(pointer, host.ctypes.data, host.nbytes)

    def download(self, host: Array, pointer: int, stream: Any) -> None:
        ctypes.memmove(host.ctypes.data, pointer, host.nbytes)

    def copy(self, target: int, origin: int, nbytes: int, stream: Any) -> None:
        ctypes.memmove(target, origin, nbytes)

    def fill(self, pointer: int, value: int, nbytes: int, stream: Any) -> None:
        ctypes.memset(pointer, value, nbytes)

    def stream(self) -> HostStream:
        return HostStream()

    def synchronize(self, stream: Any) -> None: ...

    def event(self) -> object:
        return object()

    def record(self, event: object, stream: Any) -> None: ...

    def milliseconds(self, start: object, end: object) -> float:
        return 0.0

    def begin_capture(self, stream: Any) -> None:
        raise AssertionError("the host driver captures no graphs")

    def end_capture(self, stream: Any) -> Any:
        raise AssertionError("the host driver captures no graphs")

    def replay(self, graph: Any, stream: Any) -> None:
        raise AssertionError("the host driver captures no graphs")


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which("g++") or shutil.which("clang++")


@cache
def library(family: str) -> ctypes.CDLL:
    """kernels/``family``.cu as a shared library, kept by the hash of its sources."""
    sources = [KERNELS / f"{family}.cu", *sorted(KERNELS.glob("*.cuh")), *sorted(KERNELS.glob("host/*"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(__file__).parents[2] / "cache" / "host_kernels"
    built = folder / f"{family}-{digest}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = built.with_suffix(".part")
        program = compiler()
        assert program is not None
        command = [program, *FLAGS, *CHECKS, f"-I{KERNELS}", str(sources[0]), "-o", str(part)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        part.rename(built)
    return ctypes.CDLL(str(built))
