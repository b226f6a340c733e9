"""The driver in use: one for the process, opened when first asked for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stream.compute.cuda.driver import Driver
from stream.compute.cuda.libraries import open_driver, why_no_library
from stream.errors import BackendError

_log = logging.getLogger(__name__)

_lock = threading.Lock()
_current: Driver | None = None
_refusal: str | None = None


def current_driver() -> Driver:
    """The driver in use; opens the first that can run here. What cannot be opened once is not tried again.

    :raises BackendError: there is none; the message says what is missing.
    """
    global _current
    driver = _current
    if driver is not None:
        return driver
    with _lock:
        if _current is None:
            _current = _open()
        return _current


def why_no_driver() -> str | None:
    """Why there is no driver to use, as one sentence; ``None`` where there is one. Opens it to be sure."""
    try:
        current_driver()
    except BackendError as error:
        return str(error)
    return None


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


def _after_fork() -> None:
    """CUDA does not outlive a fork, so a child of a process that used it does without."""
    global _lock, _current, _refusal
    _lock = threading.Lock()
    if _current is not None:
        _current = None
        _refusal = "CUDA was in use when this process was forked; start worker processes with spawn instead."


os.register_at_fork(after_in_child=_after_fork)


def _open() -> Driver:
    global _refusal
    if _refusal is not None:
        raise BackendError(_refusal)
    try:
        driver = open_driver()
        # A small kernel, kept afterwards: a compiler or driver too old for this GPU shows only here.
        driver.kernel("texture_project", "texture_bytes")
        return driver
    except BackendError as error:
        _refusal = str(error)
        if why_no_library() is None:  # a GPU that could serve but does not; `auto` goes on without a word
            _log.warning("%s", error)
        raise
