"""The driver in use: one for the process, opened when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stream.compute.cuda.driver import Driver
from stream.compute.cuda.libraries import open_driver, why_no_library

_lock = threading.Lock()
_current: Driver | None = None


def current_driver() -> Driver:
    """The driver in use; opens the first that can run here.

    :raises BackendError: there is none; the message says what is missing.
    """
    global _current
    with _lock:
        if _current is None:
            _current = open_driver()
        return _current


def why_no_driver() -> str | None:
    """Why there is no driver to use, as one sentence; ``None`` where there is one."""
    return None if _current is not None else why_no_library()


@contextmanager
def use_driver(driver: Driver) -> Iterator[Driver]:
    """Use ``driver`` in the whole process for a while: PyCUDA's in place of cuda-core's, or a test's."""
    global _current
    with _lock:
        before, _current = _current, driver
    try:
        yield driver
    finally:
        with _lock:
            _current = before
