"""The libraries that reach a CUDA driver, and which of them can run here."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util

from stream.compute.cuda.driver import Driver
from stream.errors import BackendError

LIBRARIES = {"cuda-core": ("cuda_core", "CudaCoreDriver"), "pycuda": ("pycuda_driver", "PyCudaDriver")}
"""Module and class of each, best first."""


def why_no_library() -> str | None:
    """Why no CUDA driver can be reached here, as one sentence; ``None`` where one can. Loads no library."""
    if _find("cuda.bindings") is None and _find("pycuda") is None:
        return (
            "The cuda compute backend needs a library for CUDA; install it with: pip install 'prosopon[gpu]'."
        )
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "This machine has no NVIDIA driver (libcuda.so.1 was not found); use --compute numba."
    return None


def open_driver() -> Driver:
    """The first driver that can run here.

    :raises BackendError: there is none; the message says what is missing.
    """
    reason = why_no_library()
    if reason is not None:
        raise BackendError(reason)
    refusals = []
    for module, name in LIBRARIES.values():
        try:
            driver: Driver = getattr(importlib.import_module(f"stream.compute.cuda.{module}"), name)()
        except BackendError as error:
            refusals.append(str(error))
            continue
        return driver
    raise BackendError(" ".join(refusals))


def _find(name: str) -> object | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:  # the parent package is missing
        return None
