"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Kernel = Callable[..., Any]

inline: Callable[[Kernel], Kernel] = numba.njit(nogil=True, error_model="numpy")
"""For the parts of a kernel: compiled with the kernel that calls them."""


def compiled(signature: Any, **options: Any) -> Callable[[Kernel], Kernel]:
    """Compile for one signature now, with numba's on-disk cache where it works.

    A cache that cannot be used (no writable folder, a full disk, a damaged file) must not stop the
    program, so any failure is answered by compiling without one; a real compile error raises again there.

    :param options: of `numba.njit`, beside those all kernels have.
    """
    always = {"nogil": True, "error_model": "numpy"}

    def decorate(function: Kernel) -> Kernel:
        try:
            return numba.njit(signature, cache=True, **always, **options)(function)
        except Exception:
            return numba.njit(signature, **always, **options)(function)

    return decorate
