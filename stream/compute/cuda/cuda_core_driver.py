"""The driver by NVIDIA's own wheels (cuda-bindings 12 or 13, which cuda-core brings): the default."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from stream.compute.cuda.driver import DeviceInfo, Stream
from stream.compute.cuda.failures import Frees, cuda_error
from stream.compute.cuda.loaded import LoadedKernels, check_host, version_text
from stream.errors import BackendError, MissingExtraError
from stream.types import Array

PORTABLE = 1
"""Page-locked for every context (CU_MEMHOSTALLOC_PORTABLE)."""

NON_BLOCKING = 1
"""A stream that does not wait for the legacy default one (CU_STREAM_NON_BLOCKING)."""

WRITE_DISCARD = 2
"""The old content of an OpenGL buffer is not wanted (CU_GRAPHICS_REGISTER_FLAGS_WRITE_DISCARD)."""


class Handle:
    """A stream, an event or a graph of CUDA's, destroyed with its last reference.

    :ivar handle: CUDA's handle as a number.
    """

    __slots__ = ("__weakref__", "handle")

    def __init__(self, handle: int) -> None:
        self.handle = handle


class DeviceMemory:
    """Device memory, freed with its last reference.

    :ivar pointer: device address.
    :ivar nbytes: size.
    """

    __slots__ = ("__weakref__", "nbytes", "pointer")

    def __init__(self, pointer: int, nbytes: int) -> None:
        self.pointer, self.nbytes = pointer, nbytes


class _HostMemory:
    """Page-locked host memory that numpy can look at; the array keeps it alive."""

    def __init__(self, pointer: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        data = (pointer, False)
        self.__array_interface__ = {"data": data, "shape": shape, "typestr": dtype.str, "version": 3}


class CudaCoreDriver:
    """`stream.compute.cuda.driver.Driver` over CUDA's driver API.

    It works in the primary context (the one of torch, CuPy and all that use CUDA's runtime) of the GPU whose
    context is current in the calling thread, else of the first GPU, which ``CUDA_VISIBLE_DEVICES`` chooses.
    Any thread may call it; the context becomes current there.

    The default stream is CUDA's legacy default stream, because the arrays that torch and CuPy hand over are
    written on it unless their users choose another: what they queued before a call is done before ours runs,
    and ours before what they queue next, with no word exchanged. It cannot be captured into a graph and waits
    for ordinary streams, so a session takes a stream of its own from `stream`, which can and does not.

    :raises BackendError: there is no GPU, no NVIDIA driver, or one that is too old.
    """

    name = "cuda-core"

    def __init__(self) -> None:
        self._cuda = _load_bindings()
        self._success = self._cuda.CUresult.CUDA_SUCCESS
        self._call("cuInit", 0)
        device = self._device()
        self._context = self._call("cuDevicePrimaryCtxRetain", device)
        self._context_number = int(self._context)
        self.info = self._describe(device)
        self._frees = Frees()
        self._kernels = LoadedKernels(self.info.arch, self._load, self._find)
        self._legacy = Handle(0)

    @contextmanager
    def current(self) -> Iterator[None]:
        """As `Driver.current`; it stays current afterwards, as with CUDA's runtime."""
        self._make_current()
        yield

    def kernel(self, family: str, name: str) -> Any:
        """As `Driver.kernel`."""
        return self._kernels.get(family, name)

    def launch(
        self, kernel: Any, grid: tuple[int, int, int], block: int, params: Array, stream: Stream
    ) -> None:
        """As `Driver.launch`."""
        record = np.ascontiguousarray(params)
        # CUDA copies the parameters before the call returns, so both arrays may go then.
        pointers = np.array([record.ctypes.data], np.uint64)
        self._do("cuLaunchKernel", kernel, *grid, block, 1, 1, 0, stream.handle, pointers.ctypes.data, 0)

    def allocate(self, nbytes: int) -> DeviceMemory:
        """As `Driver.allocate`."""
        memory = DeviceMemory(int(self._do("cuMemAlloc", nbytes)), nbytes)
        self._free_with(memory, "cuMemFree", memory.pointer)
        return memory

    def pinned(self, shape: Sequence[int], dtype: str) -> Array:
        """As `Driver.pinned`."""
        kind, sides = np.dtype(dtype), tuple(shape)
        size = max(1, int(np.prod(sides, dtype=np.int64))) * kind.itemsize
        pointer = int(self._do("cuMemHostAlloc", size, PORTABLE))
        memory = _HostMemory(pointer, sides, kind)
        self._free_with(memory, "cuMemFreeHost", pointer)
        return np.asarray(memory)

    def upload(self, pointer: int, host: Array, stream: Stream) -> None:
        """As `Driver.upload`."""
        data = check_host(host)
        if data.nbytes:
            self._do("cuMemcpyHtoDAsync", pointer, data.ctypes.data, data.nbytes, stream.handle)

    def download(self, host: Array, pointer: int, stream: Stream) -> None:
        """As `Driver.download`."""
        data = check_host(host)
        if data.nbytes:
            self._do("cuMemcpyDtoHAsync", data.ctypes.data, pointer, data.nbytes, stream.handle)

    def copy(self, target: int, origin: int, nbytes: int, stream: Stream) -> None:
        """As `Driver.copy`."""
        if nbytes:
            self._do("cuMemcpyDtoDAsync", target, origin, nbytes, stream.handle)

    def fill(self, pointer: int, value: int, nbytes: int, stream: Stream) -> None:
        """As `Driver.fill`."""
        if nbytes:
            self._do("cuMemsetD8Async", pointer, value, nbytes, stream.handle)

    def stream(self) -> Handle:
        """As `Driver.stream`."""
        return self._handle(self._do("cuStreamCreate", NON_BLOCKING), "cuStreamDestroy")

    @property
    def default_stream(self) -> Handle:
        """CUDA's legacy default stream (why: see the class)."""
        return self._legacy

    def synchronize(self, stream: Stream) -> None:
        """As `Driver.synchronize`."""
        self._do("cuStreamSynchronize", stream.handle)

    def event(self) -> Handle:
        """As `Driver.event`."""
        return self._handle(self._do("cuEventCreate", 0), "cuEventDestroy")

    def record(self, event: Handle, stream: Stream) -> None:
        """As `Driver.record`."""
        self._do("cuEventRecord", event.handle, stream.handle)

    def milliseconds(self, start: Handle, end: Handle) -> float:
        """As `Driver.milliseconds`."""
        self._do("cuEventSynchronize", end.handle)
        return float(self._do("cuEventElapsedTime", start.handle, end.handle))

    def begin_capture(self, stream: Stream) -> None:
        """As `Driver.begin_capture`. Until `end_capture` this thread must neither allocate nor wait."""
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._frees.begin_capture(stream.handle)
        try:
            self._do("cuStreamBeginCapture", stream.handle, mode)
        except BackendError:
            self._frees.end_capture(stream.handle)
            raise

    def end_capture(self, stream: Stream) -> Handle:
        """As `Driver.end_capture`, in the thread that began. The buffers in the graph must outlive it."""
        try:
            graph = self._do("cuStreamEndCapture", stream.handle)
        finally:
            self._frees.end_capture(stream.handle)
        try:
            return self._handle(self._do("cuGraphInstantiate", graph, 0), "cuGraphExecDestroy")
        finally:
            self._do("cuGraphDestroy", graph)

    def replay(self, graph: Handle, stream: Stream) -> None:
        """As `Driver.replay`."""
        self._do("cuGraphLaunch", graph.handle, stream.handle)

    def register_gl_buffer(self, number: int) -> Any:
        """As `Driver.register_gl_buffer`."""
        return self._do("cuGraphicsGLRegisterBuffer", number, WRITE_DISCARD)

    def unregister_gl_buffer(self, resource: Any) -> None:
        """As `Driver.unregister_gl_buffer`."""
        self._do("cuGraphicsUnregisterResource", resource)

    def map_gl_buffer(self, resource: Any, stream: Stream) -> int:
        """As `Driver.map_gl_buffer`."""
        self._do("cuGraphicsMapResources", 1, resource, stream.handle)
        try:
            return int(self._do("cuGraphicsResourceGetMappedPointer", resource))
        except BackendError:
            self.unmap_gl_buffer(resource, stream)
            raise

    def unmap_gl_buffer(self, resource: Any, stream: Stream) -> None:
        """As `Driver.unmap_gl_buffer`."""
        self._do("cuGraphicsUnmapResources", 1, resource, stream.handle)

    def _device(self) -> Any:
        if int(self._call("cuCtxGetCurrent") or 0):
            return self._call("cuCtxGetDevice")
        return self._call("cuDeviceGet", 0)

    def _describe(self, device: Any) -> DeviceInfo:
        kinds = self._cuda.CUdevice_attribute
        major, minor, processors = (
            self._call("cuDeviceGetAttribute", kind, device)
            for kind in (
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                kinds.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
            )
        )
        name = bytes(self._call("cuDeviceGetName", 256, device)).split(b"\0")[0].decode(errors="replace")
        memory = int(self._call("cuDeviceTotalMem", device))
        driver = version_text(int(self._call("cuDriverGetVersion")))
        return DeviceInfo(name, f"sm_{major}{minor}", memory, processors, driver)

    def _load(self, image: bytes) -> Any:
        return self._do("cuModuleLoadData", image)

    def _find(self, module: Any, name: str) -> Any:
        return self._do("cuModuleGetFunction", module, name.encode())

    def _handle(self, value: Any, destroy: str) -> Handle:
        handle = Handle(int(value))
        self._free_with(handle, destroy, handle.handle)
        return handle

    def _free_with(self, owner: object, call: str, value: int) -> None:
        """Call ``call`` when ``owner`` goes; not at exit, where the process gives everything back anyway."""
        weakref.finalize(owner, self._frees.add, partial(self._do, call, value)).atexit = False

    def _do(self, name: str, *arguments: Any) -> Any:
        """A call that needs the context."""
        self._make_current()
        return self._call(name, *arguments)

    def _make_current(self) -> None:
        if int(self._call("cuCtxGetCurrent") or 0) != self._context_number:
            self._call("cuCtxSetCurrent", self._context)

    def _call(self, name: str, *arguments: Any) -> Any:
        """One call of the driver API: its value, or the error with the call's and CUDA's own name.

        :raises BackendError: it failed.
        """
        try:
            status, *values = getattr(self._cuda, name)(*arguments)
        except RuntimeError as error:  # libcuda, or this call in it, is not there
            raise BackendError(
                f"{name} cannot be called ({error}); install or update the NVIDIA driver."
            ) from error
        if status != self._success:
            raise cuda_error(name, getattr(status, "name", f"error {status}"))
        return values[0] if values else None


def _load_bindings() -> ModuleType:
    try:
        return importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise MissingExtraError("cuda.bindings", "gpu") from error
