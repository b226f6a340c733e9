"""Keeps start-up chatter that C++ libraries write straight to file descriptor 2 off the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

_LOCK = threading.RLock()
_CHATTER = re.compile(
    rb"^(INFO: Created TensorFlow Lite|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW](\d{4}|\d{8}) \d\d:\d\d:(\d\d|\d{10})\.\d+ )"
)
"""TensorFlow Lite's greeting and glog/absl lines of severity info and warning; errors pass."""


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back descriptor 2 for the block, then write what is not known chatter to where it belongs.

    MediaPipe logs before its own log level can be set, so nothing gentler works. The descriptor is the
    whole process's: keep the block short. Where there is no descriptor 2 the block just runs.
    """
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:
            yield
            return
        stack.callback(os.close, saved)
        held = stack.enter_context(tempfile.TemporaryFile())
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(saved, 2)
            _release(held.fileno(), saved)


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(ValueError, OSError):
            sys.stderr.flush()


def _release(held: int, stderr: int) -> None:
    os.lseek(held, 0, os.SEEK_SET)
    with os.fdopen(os.dup(held), "rb") as lines, contextlib.suppress(OSError):
        for line in lines:
            if not _CHATTER.match(line):
                os.write(stderr, line)
