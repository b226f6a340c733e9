"""The libraries that reach a CUDA driver, and which of them can run here."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from stream.compute.cuda.compiler import find_compiler
from stream.compute.cuda.driver import Driver
from stream.errors import BackendError, MissingExtraError


@dataclass(frozen=True, slots=True)
class Library:
    """One way to a driver.

    :ivar package: the import that it needs.
    :ivar distribution: what pip calls it.
    :ivar extra: the extra of ours that brings it.
    :ivar module: of `stream.compute.cuda`, which has the class ``driver``.
    """

    package: str
    distribution: str
    extra: str
    module: str
    driver: str


LIBRARIES = {
    "cuda-core": Library("cuda.bindings", "cuda-bindings", "gpu", "cuda_core_driver", "CudaCoreDriver"),
    "pycuda": Library("pycuda", "pycuda", "pycuda", "pycuda_driver", "PyCudaDriver"),
}
"""Best first."""


@cache
def why_no_library() -> str | None:
    """Why no CUDA driver can be reached here, as one sentence; ``None`` where one may be. Opens none."""
    if not any(_is_installed(library) for library in LIBRARIES.values()):
        return (
            "The cuda compute backend needs a library for CUDA; install it with: pip install 'prosopon[gpu]'."
        )
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return (
            "This machine has no NVIDIA driver (libcuda.so.1 was not found); install it if there is an NVIDIA"
            " GPU, else use --compute numba."
        )
    return None


def open_driver() -> Driver:
    """The first driver that can run here; PyCUDA's where PyCUDA already has a context in this thread.

    :raises BackendError: there is none, or no compiler for the kernels; the message says what is missing.
    """
    reason = why_no_library()
    if reason is not None:
        raise BackendError(reason)
    find_compiler()
    names = ("pycuda", "cuda-core") if _pycuda_is_in_use() else tuple(LIBRARIES)
    refusals = []
    for library in (LIBRARIES[name] for name in names):
        if not _is_installed(library):
            continue
        module = importlib.import_module(f"stream.compute.cuda.{library.module}")
        try:
            driver: Driver = getattr(module, library.driver)()
        except BackendError as error:
            refusals.append(str(error))
            continue
        return driver
    raise BackendError(" ".join(dict.fromkeys(refusals)))


def describe_library(name: str) -> str:
    """The version of one of `LIBRARIES`.

    :raises MissingExtraError: it is not installed.
    """
    library = LIBRARIES[name]
    if not _is_installed(library):
        raise MissingExtraError(name, library.extra)
    try:
        return f"{library.distribution} {metadata.version(library.distribution)}"
    except metadata.PackageNotFoundError:  # installed by other means than pip
        return library.package


def describe_compiler() -> str:
    """What compiles the kernels.

    :raises BackendError: nothing does; the message says what to install.
    """
    compiler = find_compiler()
    known = compiler.architectures
    return f"{compiler.name} {compiler.version}, sm_{known[0]} to sm_{known[-1]}"


def describe_driver(driver: Driver) -> str:
    """A driver's GPU in a few words."""
    info = driver.info
    size = f"{info.multiprocessors} multiprocessors, {info.memory / 2**30:.1f} GiB"
    return f"{info.name}, {info.arch}, {size}, driver for CUDA {info.driver}, by {driver.name}"


def _pycuda_is_in_use() -> bool:
    module = sys.modules.get("pycuda.driver")
    return module is not None and module.Context.get_current() is not None


def _is_installed(library: Library) -> bool:
    try:
        return importlib.util.find_spec(library.package) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
