"""OpenGL buffers filled from CUDA: on the device where the driver can map them, else through the host."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Any

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.driver import Driver, Stream
from stream.errors import BackendError
from stream.render.buffers import GROWTH, MIN_BYTES
from stream.types import Array

log = logging.getLogger(__name__)


class SharedBuffer:
    """A vertex, index or pixel buffer whose content kernels make.

    Where CUDA and OpenGL drive the same GPU the buffer is registered with CUDA, and a write is one copy
    within the device. Where they do not (no NVIDIA OpenGL, another GPU), a write goes through page-locked
    host memory and is counted.

    A copy within the device, and not kernels that write to the mapped buffer: mapping gives a new address
    each time, which a replayed CUDA graph cannot follow, and the copy costs but its bytes over the bandwidth.

    :param stream: of this thread's copies; whoever made what is written has been waited for.
    :ivar gl_buffer: the `moderngl.Buffer`; its OpenGL object stays the same for life.
    """

    def __init__(self, gl: Any, driver: Driver, stream: Stream) -> None:
        self._driver, self._stream = driver, stream
        self.gl_buffer = gl.buffer(reserve=MIN_BYTES, dynamic=True)
        self._staging: Array | None = None
        self._resource: Any = None
        self._register()

    def write(self, array: DeviceArray) -> None:
        """Replace the content from the start; OpenGL calls after this see it.

        The copy is queued: wait for the stream before ``array``'s memory is used again.

        :raises BackendError: CUDA refuses the copy.
        """
        if array.nbytes > self.gl_buffer.size:
            self._grow(array.nbytes)
        if not array.nbytes:
            return
        pointer = self._mapped()
        if pointer is None:
            self._through_host(array)
            return
        try:
            self._driver.copy(pointer, array.pointer, array.nbytes, self._stream)
        finally:
            self._driver.unmap_gl_buffer(self._resource, self._stream)

    def release(self) -> None:
        """Free the memory; on the context's thread."""
        self._unregister()
        self.gl_buffer.release()

    def _mapped(self) -> int | None:
        """The buffer's device address, or ``None`` where it is not shared (any more)."""
        if self._resource is None:
            return None
        try:
            return self._driver.map_gl_buffer(self._resource, self._stream)
        except BackendError as error:
            log.warning(
                "An OpenGL buffer cannot be shared with CUDA any more, so meshes go through the host. %s",
                error,
            )
            with suppress(BackendError):
                self._unregister()
            self._resource = None
            return None

    def _register(self) -> None:
        try:
            self._resource = self._driver.register_gl_buffer(self.gl_buffer.glo)
        except BackendError as error:
            log.info("OpenGL's buffers cannot be shared with CUDA, so meshes go through the host. %s", error)

    def _unregister(self) -> None:
        if self._resource is not None:
            self._driver.unregister_gl_buffer(self._resource)
            self._resource = None

    def _grow(self, nbytes: int) -> None:
        """A registered buffer may not change its size, so it is registered anew."""
        registered = self._resource is not None
        self._unregister()
        self.gl_buffer.orphan(max(nbytes, math.ceil(self.gl_buffer.size * GROWTH)))
        if registered:
            self._register()

    def _through_host(self, array: DeviceArray) -> None:
        if self._staging is None or self._staging.nbytes < array.nbytes:
            self._staging = self._driver.pinned((self.gl_buffer.size,), "uint8")
        part = self._staging[: array.nbytes]
        self._driver.download(part, array.pointer, self._stream)
        self._driver.synchronize(self._stream)
        self.gl_buffer.write(part)
