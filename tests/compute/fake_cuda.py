"""Stand-ins for cuda.bindings.driver and pycuda.driver that keep CUDA's rules, with memory on the heap.

Both need a context current in the calling thread, run work at once unless its stream is captured, refuse to
allocate or free in a thread that captures, and count what is alive.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

ADD = np.dtype([("values", "u8"), ("amount", "f4"), ("count", "i4"), ("step", "u1")], align=True)
"""Mirrors AddParams of `ADD_SOURCE`; 24 bytes, 7 of them padding."""

ADD_SOURCE = """
#include "prosopon.cuh"
struct AddParams { float *values; float amount; int count; u8 step; };
KERNEL(add, AddParams, 64) {
    each_thread([&](int t) {
        const int i = (blockIdx.x * 64 + t) * p.step;
        if (i < p.count) p.values[i] += p.amount;
    });
}
"""


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class RefusedError(Exception):
    """What a rule says to a call."""

    def __init__(self, status: CUresult) -> None:
        super().__init__(status.name)
        self.status = status


class Machine:
    """What both stand-ins share: memory, streams, graphs and one kernel, ``add``.

    :ivar refuse: answers by call, given in place of the work.
    """

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.captures: dict[int, tuple[int, list[Callable[[], None]]]] = {}
        self.broken: set[int] = set()
        self.launches: list[tuple[Any, ...]] = []
        self.refuse: dict[str, CUresult] = {}
        self.numbers = iter(range(1000, 10**9))

    def allocate(self, nbytes: int) -> int:
        self.not_capturing()
        if nbytes > 1 << 30:
            raise RefusedError(CUresult.CUDA_ERROR_OUT_OF_MEMORY)
        block = ctypes.create_string_buffer(b"\xff" * nbytes, nbytes)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, pointer: int) -> None:
        self.not_capturing()
        if self.memory.pop(pointer, None) is None:
            raise RefusedError(CUresult.CUDA_ERROR_INVALID_VALUE)

    def not_capturing(self) -> None:
        mine = [stream for stream, (thread, _) in self.captures.items() if thread == threading.get_ident()]
        self.broken.update(mine)
        if mine:
            raise RefusedError(CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)

    def queue(self, stream: int, work: Callable[[], Any]) -> None:
        if stream in self.captures:
            self.captures[stream][1].append(work)
        else:
            work()

    def begin(self, stream: int) -> None:
        if stream == 0:
            raise RefusedError(CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        self.captures[stream] = (threading.get_ident(), [])

    def end(self, stream: int) -> list[Callable[[], None]]:
        _, graph = self.captures.pop(stream)
        if stream in self.broken:
            self.broken.discard(stream)
            raise RefusedError(CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        return graph

    def launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], data: bytes, stream: int
    ) -> None:
        self.launches.append((name, grid, block, data, stream))
        p = np.frombuffer(data, ADD)[0]

        def run() -> None:
            values = (ctypes.c_float * int(p["count"])).from_address(int(p["values"]))
            for thread in range(grid[0] * block[0]):
                at = thread * int(p["step"])
                if at < p["count"]:
                    values[at] += float(p["amount"])

        self.queue(stream, run)


class FakeBindings(Machine):
    """`cuda.bindings.driver`: every call gives a status and its values.

    :ivar calls: names in order.
    """

    CUresult = CUresult
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=8,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=6,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=82,
    )
    PRIMARY = 77

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.thread = threading.local()
        self.handles: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        work = getattr(type(self), f"_{name}", None)
        if work is None:
            raise RuntimeError(f"Function {name} not found")

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.refuse:
                return (self.refuse[name],)
            free = name.startswith(("cuInit", "cuDevice", "cuDriver", "cuCtx"))
            if not free and getattr(self.thread, "context", 0) != self.PRIMARY:
                return (CUresult.CUDA_ERROR_INVALID_CONTEXT,)
            try:
                value = work(self, *arguments)
            except RefusedError as refused:
                return (refused.status,)
            return (CUresult.CUDA_SUCCESS,) if value is None else (CUresult.CUDA_SUCCESS, value)

        return call

    def _new(self, value: Any) -> int:
        number = next(self.numbers)
        self.handles[number] = value
        return number

    def _drop(self, handle: int) -> None:
        if self.handles.pop(handle, None) is None:
            raise RefusedError(CUresult.CUDA_ERROR_INVALID_HANDLE)

    def _cuInit(self, flags: int) -> None: ...  # noqa: N802

    def _cuDriverGetVersion(self) -> int:  # noqa: N802
        return 13000

    def _cuCtxGetCurrent(self) -> int:  # noqa: N802
        return getattr(self.thread, "context", 0)

    def _cuCtxSetCurrent(self, context: int) -> None:  # noqa: N802
        self.thread.context = context

    def _cuCtxGetDevice(self) -> int:  # noqa: N802
        return 3

    def _cuDeviceGet(self, ordinal: int) -> int:  # noqa: N802
        return ordinal

    def _cuDevicePrimaryCtxRetain(self, device: int) -> int:  # noqa: N802
        self.device = device
        return self.PRIMARY

    def _cuDeviceGetAttribute(self, kind: int, device: int) -> int:  # noqa: N802
        return kind

    def _cuDeviceGetName(self, length: int, device: int) -> bytes:  # noqa: N802
        return b"Fake GPU".ljust(length, b"\0")

    def _cuDeviceTotalMem(self, device: int) -> int:  # noqa: N802
        return 24 << 30

    def _cuModuleLoadData(self, image: bytes) -> int:  # noqa: N802
        return self._new(image)

    def _cuModuleGetFunction(self, module: int, name: bytes) -> str:  # noqa: N802
        if name != b"add":
            raise RefusedError(CUresult.CUDA_ERROR_NOT_FOUND)
        return name.decode()

    def _cuLaunchKernel(self, kernel: str, *arguments: int) -> None:  # noqa: N802
        grid, block, (shared, stream, pointers, extra) = arguments[:3], arguments[3:6], arguments[6:]
        assert (shared, extra) == (0, 0)
        address = ctypes.c_uint64.from_address(pointers).value
        self.launch(kernel, grid, block, ctypes.string_at(address, ADD.itemsize), stream)

    def _cuMemAlloc(self, nbytes: int) -> int:  # noqa: N802
        return self.allocate(nbytes)

    def _cuMemFree(self, pointer: int) -> None:  # noqa: N802
        self.free(pointer)

    def _cuMemHostAlloc(self, nbytes: int, flags: int) -> int:  # noqa: N802
        return self.allocate(nbytes)

    def _cuMemFreeHost(self, pointer: int) -> None:  # noqa: N802
        self.free(pointer)

    def _cuMemcpyHtoDAsync(self, target: int, origin: int, nbytes: int, stream: int) -> None:  # noqa: N802
        self.queue(stream, lambda: ctypes.memmove(target, origin, nbytes))

    _cuMemcpyDtoHAsync = _cuMemcpyDtoDAsync = _cuMemcpyHtoDAsync  # noqa: N815

    def _cuMemsetD8Async(self, pointer: int, value: int, nbytes: int, stream: int) -> None:  # noqa: N802
        self.queue(stream, lambda: ctypes.memset(pointer, value, nbytes))

    def _cuStreamCreate(self, flags: int) -> int:  # noqa: N802
        assert flags == 1, "a stream that waits for the legacy one"
        return self._new("stream")

    def _cuStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        self.not_capturing()

    def _cuStreamDestroy(self, stream: int) -> None:  # noqa: N802
        self._drop(stream)

    def _cuEventCreate(self, flags: int) -> int:  # noqa: N802
        return self._new(None if flags else "event")

    def _cuEventRecord(self, event: int, stream: int) -> None: ...  # noqa: N802

    def _cuEventSynchronize(self, event: int) -> None: ...  # noqa: N802

    def _cuEventElapsedTime(self, start: int, end: int) -> float:  # noqa: N802
        return float(end - start)

    def _cuEventDestroy(self, event: int) -> None:  # noqa: N802
        self._drop(event)

    def _cuStreamBeginCapture(self, stream: int, mode: int) -> None:  # noqa: N802
        self.begin(stream)

    def _cuStreamEndCapture(self, stream: int) -> int:  # noqa: N802
        return self._new(self.end(stream))

    def _cuGraphInstantiate(self, graph: int, flags: int) -> int:  # noqa: N802
        return self._new(list(self.handles[graph]))

    def _cuGraphDestroy(self, graph: int) -> None:  # noqa: N802
        self._drop(graph)

    def _cuGraphExecDestroy(self, graph: int) -> None:  # noqa: N802
        self._drop(graph)

    def _cuGraphLaunch(self, graph: int, stream: int) -> None:  # noqa: N802
        for work in self.handles[graph]:
            work()


class FakePyCuda(Machine):
    """`pycuda.driver`, with its stack of contexts for each thread.

    :ivar stacks: what is on each thread's stack; PyCUDA ends the process where a thread leaves some.
    """

    class Error(Exception): ...

    def __init__(self) -> None:
        super().__init__()
        self.stacks: dict[int, list[Any]] = {}
        self.device = SimpleNamespace(
            name=lambda: "Fake GPU",
            compute_capability=lambda: (8, 6),
            total_memory=lambda: 24 << 30,
            multiprocessor_count=82,
            retain_primary_context=self.make_context,
        )
        self.Context = SimpleNamespace(
            get_current=lambda: self.stack[-1] if self.stack else None,
            pop=lambda: self.stack.pop(),
            get_device=lambda: self.device if self.stack else self.fail("cuCtxGetDevice"),
        )
        self.Device = lambda ordinal: self.device

    @property
    def stack(self) -> list[Any]:
        return self.stacks.setdefault(threading.get_ident(), [])

    def make_context(self) -> Any:
        context = SimpleNamespace()
        context.push = lambda: self.stack.append(context)
        return context

    def fail(self, call: str, text: str = "invalid device context") -> Any:
        raise self.Error(f"{call} failed: {text}")

    def guard(self, call: str, work: Callable[..., Any], *arguments: Any) -> Any:
        if not self.stack:
            self.fail(call)
        try:
            return work(*arguments)
        except RefusedError as refused:
            words = {CUresult.CUDA_ERROR_OUT_OF_MEMORY: "out of memory"}
            return self.fail(call, words.get(refused.status, refused.status.name))

    def init(self) -> None:
        if "cuInit" in self.refuse:
            self.fail("cuInit", "no CUDA-capable device is detected")

    def get_driver_version(self) -> int:
        return 12040

    def mem_alloc(self, nbytes: int) -> Any:
        pointer = self.guard("cuMemAlloc", self.allocate, nbytes)
        return Allocation(self, pointer)

    def pagelocked_empty(self, shape: Any, dtype: Any, mem_flags: int) -> Any:
        return self.guard("cuMemHostAlloc", lambda: np.full(shape, 0xFF).astype(dtype))

    def _copy(self, call: str, target: int, origin: int, nbytes: int, stream: Any) -> None:
        work = lambda: ctypes.memmove(target, origin, nbytes)  # noqa: E731
        self.guard(call, self.queue, handle_of(stream), work)

    def memcpy_htod_async(self, target: int, host: Any, stream: Any) -> None:
        self._copy("cuMemcpyHtoDAsync", target, host.ctypes.data, host.nbytes, stream)

    def memcpy_dtoh_async(self, host: Any, origin: int, stream: Any) -> None:
        self._copy("cuMemcpyDtoHAsync", host.ctypes.data, origin, host.nbytes, stream)

    def memcpy_dtod_async(self, target: int, origin: int, size: int, stream: Any) -> None:
        self._copy("cuMemcpyDtoDAsync", target, origin, size, stream)

    def memset_d8_async(self, dest: int, data: int, size: int, stream: Any) -> None:
        self.guard("cuMemsetD8Async", self.queue, handle_of(stream), lambda: ctypes.memset(dest, data, size))

    def Stream(self, flags: int) -> Any:  # noqa: N802
        assert flags == 1, "a stream that waits for the legacy one"
        return self.guard("cuStreamCreate", PyStream, self)

    def Event(self) -> Any:  # noqa: N802
        return self.guard("cuEventCreate", PyEvent, next(self.numbers))

    def module_from_buffer(self, image: bytes) -> Any:
        return SimpleNamespace(get_function=lambda name: PyFunction(self, name))


class Allocation:
    def __init__(self, fake: FakePyCuda, pointer: int) -> None:
        self.fake, self.pointer = fake, pointer

    def __int__(self) -> int:
        return self.pointer

    def free(self) -> None:
        self.fake.guard("cuMemFree", self.fake.free, self.pointer)


class PyStream:
    def __init__(self, fake: FakePyCuda) -> None:
        self.fake, self.handle = fake, next(fake.numbers)

    def synchronize(self) -> None:
        self.fake.guard("cuStreamSynchronize", self.fake.not_capturing)

    def begin_capture(self) -> None:
        self.fake.guard("cuStreamBeginCapture", self.fake.begin, self.handle)

    def end_capture(self) -> Any:
        graph = self.fake.guard("cuStreamEndCapture", self.fake.end, self.handle)
        launch = lambda stream: [work() for work in graph]  # noqa: E731
        return SimpleNamespace(instantiate=lambda: SimpleNamespace(launch=launch))


class PyEvent:
    def __init__(self, number: int) -> None:
        self.number = number

    def record(self, stream: Any) -> None: ...

    def synchronize(self) -> None: ...

    def time_since(self, start: PyEvent) -> float:
        return float(self.number - start.number)


class PyFunction:
    def __init__(self, fake: FakePyCuda, name: str) -> None:
        if name != "add":
            fake.fail("cuModuleGetFunction", "named symbol not found")
        self.fake, self.name = fake, name

    def prepare(self, types: tuple[str, ...]) -> None:
        self.format = "".join(types)

    def prepared_async_call(self, grid: Any, block: Any, stream: Any, data: bytes) -> None:
        assert self.format == f"{len(data)}s"
        self.fake.guard("cuLaunchKernel", self.fake.launch, self.name, grid, block, data, handle_of(stream))


def handle_of(stream: Any) -> int:
    """PyCUDA says ``None`` for the legacy default stream."""
    return 0 if stream is None else stream.handle
