"""A pipe, such as a shell's ``<(command)``, read like a file."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

MAX_KEPT = 2 << 30
"""Bytes of a pipe that are kept: a video's index may stand at its end, and a benchmark plays it again. What
comes after them is read once."""

CHUNK = 1 << 20


class PipeFile:
    """Reads a named pipe and keeps what came in a temporary file, so that one can go back in it.

    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._pipe = os.open(path, os.O_RDONLY)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the pipe
        self._at = self._kept = self._come = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        if self._at < self._kept:
            self._file.seek(self._at)
            data = self._file.read(min(size, self._kept - self._at))
        else:
            data = self._pull(size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place from the start or from here; forward it waits until so much has come.

        :returns: the place; or, for FFmpeg, which asks for the size so, a negative error number: what stood
            there was not kept, or the place is counted from an end that nobody knows.
        """
        if whence == os.SEEK_CUR:
            offset += self._at
        while offset > self._come and self._pull(min(CHUNK, offset - self._come)):
            pass
        place = min(offset, self._come)
        if whence == os.SEEK_END or place < 0 or self._kept < place < self._come:
            return -errno.ESPIPE
        self._at = place
        return place

    def tell(self) -> int:
        """Where the next `read` begins."""
        return self._at

    def close(self) -> None:
        """Close the pipe, and forget what was kept."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._file.close()
            self._pipe = -1

    def _pull(self, size: int) -> bytes:
        data = os.read(self._pipe, size)
        if self._kept == self._come and self._kept + len(data) <= MAX_KEPT:
            self._file.seek(self._kept)
            self._file.write(data)
            self._kept += len(data)
        self._come += len(data)
        return data
