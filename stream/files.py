"""Files that appear whole or not at all, and where kept ones lie."""

from __future__ import annotations

import os
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.errors import OutputError

ARCHIVE_ERRORS = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading an .npz file raises where it is missing, cut off, damaged, lacks an array, or claims one
that no memory would hold."""


def cache_folder(name: str) -> Path:
    """Where things of one sort are kept: ``$XDG_CACHE_HOME/prosopon/name``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "prosopon" / name


def data_folder(name: str) -> Path:
    """What no cache may drop: ``$XDG_DATA_HOME/prosopon/name``, by default under ``~/.local/share``."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(base) / "prosopon" / name


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` (same suffix) that takes its place when the block ends well.

    Missing folders are made. Where the block raises, nothing is left behind and an older file stays.

    :raises OutputError: the place cannot be written; also for an `OSError` of the block itself.
    """
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"Cannot write {path}: {reason}; choose another place or make room.") from error
