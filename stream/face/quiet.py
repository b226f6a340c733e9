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

QUIET_RUNS = 3
"""First runs of a network that are kept quiet: it may log once more when it meets its first face."""


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back descriptor 2 for the block, then write what is not known chatter to where it belongs.

    MediaPipe logs before its own log level can be set, so nothing gentler works. The descriptor is the
    whole process's: what other threads write meanwhile comes later (a line written just as the block ends
    can overtake it), and what is held back when the process crashes never, so keep the block short and
    rare. Where there is no descriptor 2 the block just runs.
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


class QuietStart:
    """Keeps the first `QUIET_RUNS` runs of something quiet, and leaves the terminal alone from then on."""

    def __init__(self) -> None:
        self._left = QUIET_RUNS

    def next(self) -> contextlib.AbstractContextManager[None]:
        """What to make the next run in."""
        self._left -= 1
        return quiet_stderr() if self._left >= 0 else contextlib.nullcontext()


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(ValueError, OSError):
            sys.stderr.flush()


def _release(held: int, stderr: int) -> None:
    # By position, until nothing more comes: another thread's last write may still be under way, at its end.
    position = 0
    with contextlib.suppress(OSError):
        while content := os.pread(held, os.fstat(held).st_size - position, position):
            position += len(content)
            for line in content.splitlines(keepends=True):
                if not _CHATTER.match(line):
                    while line:  # a write to a pipe may be cut short
                        line = line[os.write(stderr, line) :]
