"""What CUDA's errors mean, and what to do about them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from stream.errors import BackendError

_log = logging.getLogger(__name__)

_UPDATE = "the NVIDIA driver is too old for this CUDA; update it"
_LOST = "a kernel went wrong and took the GPU's context with it; restart the program"

HINTS = {
    "CUDA_ERROR_NO_DEVICE": "no NVIDIA GPU is visible; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
    "CUDA_ERROR_INVALID_DEVICE": "there is no such GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another program has the GPU to itself; end it, or wait",
    "CUDA_ERROR_OUT_OF_MEMORY": "the GPU's memory is full; end other programs that use it, or ask for less",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": f"this driver cannot run the compiled kernel on this GPU: {_UPDATE}",
    "CUDA_ERROR_INVALID_IMAGE": f"this driver does not know the compiled kernel's format: {_UPDATE}",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": _UPDATE,
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "parts of the NVIDIA driver differ in version; restart the machine",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": _UPDATE,
    "CUDA_ERROR_STUB_LIBRARY": "this libcuda is the toolkit's stub; let the driver's own be found first",
    "CUDA_ERROR_NOT_INITIALIZED": "CUDA does not outlive a fork; start worker processes with spawn",
    "CUDA_ERROR_NOT_FOUND": "the kernel has another name; install prosopon again",
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES": "a block of the kernel takes more than this GPU has",
    "CUDA_ERROR_ILLEGAL_ADDRESS": _LOST,
    "CUDA_ERROR_MISALIGNED_ADDRESS": _LOST,
    "CUDA_ERROR_LAUNCH_FAILED": _LOST,
    "CUDA_ERROR_LAUNCH_TIMEOUT": _LOST,
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": "a frame that is captured must neither allocate nor wait",
    "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": "a frame that is captured must neither allocate nor wait",
}
"""What to do, by CUDA's own name of the error."""


def cuda_error(call: str, name: str) -> BackendError:
    """The error for a failed call of CUDA's driver API, as one sentence."""
    return BackendError(f"{call} failed with {name}; {HINTS.get(name, 'use --compute numba instead')}.")


class Frees:
    """Frees what garbage collection gives up, but not while a graph is captured: CUDA forbids it then.

    Safe from any thread and at any moment, as it takes no lock.
    """

    def __init__(self) -> None:
        self._captures: set[int] = set()
        self._waiting: list[Callable[[], None]] = []

    def begin_capture(self, stream: int) -> None:
        """From here on frees wait."""
        self._captures.add(stream)

    def end_capture(self, stream: int) -> None:
        """Frees what has waited, unless another stream is still captured."""
        self._captures.discard(stream)
        self._drain()

    def add(self, free: Callable[[], None]) -> None:
        """Call ``free`` now or when no graph is captured; its `BackendError` goes to the log."""
        self._waiting.append(free)
        self._drain()

    def _drain(self) -> None:
        while self._waiting and not self._captures:
            try:
                self._waiting.pop()()
            except IndexError:  # another thread took the last one
                return
            except BackendError as error:
                _log.warning("%s", error)
