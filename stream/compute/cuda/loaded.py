"""What both drivers do alike: load each kernel once, and check the host arrays they copy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from stream.compute.cuda.cubins import load_image
from stream.errors import InputError
from stream.types import Array


class LoadedKernels:
    """The kernels that one driver has loaded; safe from several threads.

    :param arch: what to compile for, such as ``sm_86``.
    :param load: makes a module of an image.
    :param find: the kernel of a name in a module.
    """

    def __init__(self, arch: str, load: Callable[[bytes], Any], find: Callable[[Any, str], Any]) -> None:
        self._arch, self._load, self._find = arch, load, find
        self._lock = threading.Lock()
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str], Any] = {}

    def get(self, family: str, name: str) -> Any:
        """The kernel ``name`` of kernels/``family``.cu.

        :raises BackendError: it does not compile or load, or there is none of that name.
        """
        kernel = self._kernels.get((family, name))
        if kernel is None:
            with self._lock:
                if family not in self._modules:
                    self._modules[family] = self._load(load_image(family, self._arch))
                kernel = self._kernels[family, name] = self._find(self._modules[family], name)
        return kernel


def check_host(host: Array) -> Array:
    """The array itself, where its bytes lie side by side.

    :raises InputError: they do not.
    """
    if not host.flags.c_contiguous:
        raise InputError("Only C-contiguous host arrays can be copied to or from the GPU; make a copy first.")
    return host


def version_text(number: int) -> str:
    """CUDA's number for a version as text: 13.0 for 13000."""
    return f"{number // 1000}.{number % 1000 // 10}"
