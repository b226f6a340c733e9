"""What the kernels ask of a CUDA driver, whichever library reaches it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from stream.types import Array


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The GPU in use.

    :ivar arch: e.g. ``sm_86``.
    :ivar memory: bytes in all.
    :ivar multiprocessors: how many there are.
    :ivar driver: the highest CUDA version the installed driver knows, e.g. ``13.0``.
    """

    name: str
    arch: str
    memory: int
    multiprocessors: int
    driver: str


class Memory(Protocol):
    """Device memory, freed with its last reference."""

    @property
    def pointer(self) -> int:
        """Device address."""

    @property
    def nbytes(self) -> int:
        """Size."""


class Stream(Protocol):
    """A CUDA stream.

    :ivar handle: the driver's CUstream as a number, for libraries that take one.
    """

    handle: int


class Driver(Protocol):
    """A CUDA context and what can be done in it. Work is queued on a stream and runs in its order.

    Every method raises `stream.errors.BackendError` with the failing call and CUDA's own error name.

    :ivar name: ``cuda-core`` or ``pycuda``.
    """

    name: str
    info: DeviceInfo

    def current(self) -> AbstractContextManager[None]:
        """The CUDA context is current in this thread meanwhile: for libraries that call CUDA themselves."""

    def kernel(self, family: str, name: str) -> Any:
        """The kernel ``name`` of kernels/``family``.cu, compiled (or from the cache) and loaded once."""

    def launch(
        self, kernel: Any, grid: tuple[int, int, int], block: int, params: Array, stream: Stream
    ) -> None:
        """Queue a launch.

        :param params: one record of a structured dtype (``align=True``) that mirrors the kernel's struct.
        """

    def allocate(self, nbytes: int) -> Memory:
        """New device memory, not initialised."""

    def pinned(self, shape: Sequence[int], dtype: str) -> Array:
        """A host array in page-locked memory, which copies need to overlap with other work."""

    def upload(self, pointer: int, host: Array, stream: Stream) -> None:
        """Queue a copy of a C-contiguous host array; pageable memory is copied before this returns."""

    def download(self, host: Array, pointer: int, stream: Stream) -> None:
        """Queue a copy into a C-contiguous host array; `synchronize` before reading it."""

    def copy(self, target: int, origin: int, nbytes: int, stream: Stream) -> None:
        """Queue a copy from device to device."""

    def fill(self, pointer: int, value: int, nbytes: int, stream: Stream) -> None:
        """Queue the setting of ``nbytes`` bytes to ``value``."""

    def stream(self) -> Stream:
        """A new stream, which does not wait for the default one."""

    @property
    def default_stream(self) -> Stream:
        """The stream of calls that name none: CUDA's legacy default stream, which cannot be captured."""

    def synchronize(self, stream: Stream) -> None:
        """Wait until everything queued so far is done."""

    def event(self) -> Any:
        """A new event that takes time."""

    def record(self, event: Any, stream: Stream) -> None:
        """Queue the event."""

    def milliseconds(self, start: Any, end: Any) -> float:
        """Device time between two recorded events; waits for the second."""

    def begin_capture(self, stream: Stream) -> None:
        """From here on what is queued on ``stream``, one of `stream`, is kept as a graph and not run.

        Until `end_capture`, called by the same thread, it must neither allocate nor wait, and must have got
        its kernels before.
        """

    def end_capture(self, stream: Stream) -> Any:
        """The graph of what was queued since `begin_capture`, ready to be replayed while its buffers live."""

    def replay(self, graph: Any, stream: Stream) -> None:
        """Queue a graph as one launch."""

    def register_gl_buffer(self, number: int) -> Any:
        """Share the OpenGL buffer ``number`` of the context current in this thread, to be written to whole.

        It raises where that context is not on this GPU.
        """

    def unregister_gl_buffer(self, resource: Any) -> None:
        """End the sharing."""

    def map_gl_buffer(self, resource: Any, stream: Stream) -> int:
        """The buffer's device address until `unmap_gl_buffer`; what OpenGL queued before is done first."""

    def unmap_gl_buffer(self, resource: Any, stream: Stream) -> None:
        """Hand the buffer back to OpenGL, whose next calls see what ``stream`` wrote."""
