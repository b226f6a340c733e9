"""The driver by PyCUDA, in PyCUDA's own context: for programs that already use it."""

from __future__ import annotations

import ctypes
import importlib
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from stream.compute.cuda.cuda_core_driver import NON_BLOCKING, PORTABLE, DeviceMemory
from stream.compute.cuda.driver import DeviceInfo, Stream
from stream.compute.cuda.failures import Frees, cuda_error
from stream.compute.cuda.loaded import LoadedKernels, check_host, version_text
from stream.errors import BackendError, MissingExtraError
from stream.types import Array


class PyCudaStream:
    """A PyCUDA stream.

    :ivar stream: the `pycuda.driver.Stream`; ``None`` is CUDA's legacy default stream, as all over PyCUDA.
    :ivar handle: CUDA's handle as a number.
    """

    __slots__ = ("__weakref__", "handle", "stream")

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.handle: int = 0 if stream is None else stream.handle


class _SharedBuffer:
    """An OpenGL buffer PyCUDA knows, and its mapping while it is mapped."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer
        self.mapping: Any = None


class PyCudaDriver:
    """`stream.compute.cuda.driver.Driver` over `pycuda.driver`.

    It works in the context that is current in the calling thread (such as `pycuda.autoinit` makes), else in
    the first GPU's primary one. PyCUDA keeps a stack of contexts for each thread and ends the process where a
    thread ends before its stack is empty, so each call pushes the context where it is not current and pops it
    again.

    The default stream is the legacy one, which PyCUDA's own arrays work on (as `CudaCoreDriver`'s does).

    :raises BackendError: PyCUDA, the NVIDIA driver or a GPU is missing.
    """

    name = "pycuda"

    def __init__(self) -> None:
        self._cuda = _load_pycuda()
        with self._errors():
            self._cuda.init()
            self._context = self._cuda.Context.get_current()
            if self._context is None:
                self._context = self._cuda.Device(0).retain_primary_context()
        with self.current():
            device = self._cuda.Context.get_device()
            major, minor = device.compute_capability()
            self.info = DeviceInfo(
                name=device.name(),
                arch=f"sm_{major}{minor}",
                memory=device.total_memory(),
                multiprocessors=device.multiprocessor_count,
                driver=version_text(self._cuda.get_driver_version()),
            )
        self._frees = Frees()
        self._kernels = LoadedKernels(self.info.arch, self._load, self._find)
        self._legacy = PyCudaStream(None)

    def kernel(self, family: str, name: str) -> Any:
        """As `Driver.kernel`."""
        return self._kernels.get(family, name)

    def launch(
        self, kernel: Any, grid: tuple[int, int, int], block: int, params: Array, stream: Stream
    ) -> None:
        """As `Driver.launch`."""
        record = np.ascontiguousarray(params).tobytes()
        with self.current():
            kernel.prepare((f"{len(record)}s",))
            kernel.prepared_async_call(tuple(grid), (block, 1, 1), _native(stream), record)

    def allocate(self, nbytes: int) -> DeviceMemory:
        """As `Driver.allocate`."""
        with self.current():
            allocation = self._cuda.mem_alloc(nbytes)
        memory = DeviceMemory(int(allocation), nbytes)
        weakref.finalize(memory, self._frees.add, partial(self._free, allocation)).atexit = False
        return memory

    def pinned(self, shape: Sequence[int], dtype: str) -> Array:
        """As `Driver.pinned`."""
        with self.current():
            array: Array = self._cuda.pagelocked_empty(tuple(shape), np.dtype(dtype), mem_flags=PORTABLE)
            return array

    def upload(self, pointer: int, host: Array, stream: Stream) -> None:
        """As `Driver.upload`."""
        data = check_host(host)
        if data.nbytes:
            with self.current():
                self._cuda.memcpy_htod_async(pointer, data, _native(stream))

    def download(self, host: Array, pointer: int, stream: Stream) -> None:
        """As `Driver.download`."""
        data = check_host(host)
        if data.nbytes:
            with self.current():
                self._cuda.memcpy_dtoh_async(data, pointer, _native(stream))

    def copy(self, target: int, origin: int, nbytes: int, stream: Stream) -> None:
        """As `Driver.copy`."""
        if nbytes:
            with self.current():
                self._cuda.memcpy_dtod_async(target, origin, nbytes, _native(stream))

    def fill(self, pointer: int, value: int, nbytes: int, stream: Stream) -> None:
        """As `Driver.fill`."""
        if nbytes:
            with self.current():
                self._cuda.memset_d8_async(pointer, value, nbytes, _native(stream))

    def stream(self) -> PyCudaStream:
        """As `Driver.stream`."""
        with self.current():
            return PyCudaStream(self._cuda.Stream(NON_BLOCKING))

    @property
    def default_stream(self) -> PyCudaStream:
        """CUDA's legacy default stream."""
        return self._legacy

    def synchronize(self, stream: Stream) -> None:
        """As `Driver.synchronize`."""
        if _native(stream) is None:
            event = self.event()
            self.record(event, stream)
            with self.current():
                event.synchronize()
            return
        with self.current():
            _native(stream).synchronize()

    def event(self) -> Any:
        """As `Driver.event`."""
        with self.current():
            return self._cuda.Event()

    def record(self, event: Any, stream: Stream) -> None:
        """As `Driver.record`."""
        with self.current():
            event.record(_native(stream))

    def milliseconds(self, start: Any, end: Any) -> float:
        """As `Driver.milliseconds`."""
        with self.current():
            end.synchronize()
            return float(end.time_since(start))

    def begin_capture(self, stream: Stream) -> None:
        """As `Driver.begin_capture`. PyCUDA's captures forbid every thread to allocate meanwhile.

        :raises BackendError: also where this PyCUDA knows no graphs, or the stream is the default one.
        """
        if not hasattr(_native(stream), "begin_capture"):
            raise BackendError(
                "This stream cannot be captured; take a new one, of a PyCUDA that knows graphs."
            )
        self._frees.begin_capture(stream.handle)
        try:
            with self.current():
                _native(stream).begin_capture()
        except BackendError:
            self._frees.end_capture(stream.handle)
            raise

    def end_capture(self, stream: Stream) -> Any:
        """As `Driver.end_capture`, in the thread that began. The buffers in the graph must outlive it."""
        try:
            with self.current():
                return _native(stream).end_capture().instantiate()
        finally:
            self._frees.end_capture(stream.handle)

    def replay(self, graph: Any, stream: Stream) -> None:
        """As `Driver.replay`."""
        with self.current():
            graph.launch(_native(stream))

    def register_gl_buffer(self, number: int) -> Any:
        """As `Driver.register_gl_buffer`.

        :raises BackendError: also where PyCUDA was built without OpenGL.
        """
        try:
            gl = importlib.import_module("pycuda.gl")
        except ImportError as error:
            raise BackendError("This PyCUDA was built without OpenGL; use the gpu extra.") from error
        with self.current():
            return _SharedBuffer(gl.RegisteredBuffer(number, gl.graphics_map_flags.WRITE_DISCARD))

    def unregister_gl_buffer(self, resource: Any) -> None:
        """As `Driver.unregister_gl_buffer`."""
        with self.current():
            resource.buffer.unregister()

    def map_gl_buffer(self, resource: Any, stream: Stream) -> int:
        """As `Driver.map_gl_buffer`."""
        with self.current():
            resource.mapping = resource.buffer.map(_native(stream))
            try:
                return int(resource.mapping.device_ptr_and_size()[0])
            except self._cuda.Error:
                resource.mapping.unmap(_native(stream))
                raise

    def unmap_gl_buffer(self, resource: Any, stream: Stream) -> None:
        """As `Driver.unmap_gl_buffer`."""
        with self.current():
            resource.mapping.unmap(_native(stream))

    def _load(self, image: bytes) -> Any:
        with self.current():
            return self._cuda.module_from_buffer(image)

    def _find(self, module: Any, name: str) -> Any:
        with self.current():
            return module.get_function(name)

    def _free(self, allocation: Any) -> None:
        with self.current():
            allocation.free()

    @contextmanager
    def current(self) -> Iterator[None]:
        """As `Driver.current`."""
        with self._errors():
            pushed = self._cuda.Context.get_current() != self._context
            if pushed:
                self._context.push()
            try:
                yield
            finally:
                if pushed:
                    self._cuda.Context.pop()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            call, _, text = str(error).partition(" failed: ")
            raise cuda_error(call, _error_name(text)) from error


def _native(stream: Stream) -> Any:
    """What PyCUDA calls this stream.

    :raises BackendError: it is another library's.
    """
    if isinstance(stream, PyCudaStream):
        return stream.stream
    if stream.handle == 0:
        return None
    raise BackendError("PyCUDA can only queue on its own streams; take one from PyCudaDriver.stream.")


def _error_name(text: str) -> str:
    """CUDA's name of the error that PyCUDA says in CUDA's words, possibly with more behind `` - ``."""
    words = text.partition(" - ")[0]
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return words
    found = ctypes.c_char_p()
    for code in range(1, 1000):
        if library.cuGetErrorString(code, ctypes.byref(found)) == 0 and found.value == words.encode():
            library.cuGetErrorName(code, ctypes.byref(found))
            return (found.value or b"").decode() or words
    return words


def _load_pycuda() -> ModuleType:
    try:
        return importlib.import_module("pycuda.driver")
    except ModuleNotFoundError as error:
        raise MissingExtraError("pycuda", "pycuda") from error
    except ImportError as error:
        raise BackendError(
            f"PyCUDA cannot be loaded ({error}); install the NVIDIA driver, or build PyCUDA again."
        ) from error
