"""Files that appear whole or not at all, and where kept ones lie."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream.errors import OutputError

ARCHIVE_ERRORS = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading an .npz file raises where it is missing, cut off, damaged, lacks an array, or claims one
that no memory would hold."""

STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")
"""Folders whose files are devices and open streams (/dev/stdout); nothing in them is ever replaced."""


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

    Missing folders are made. Where the block raises, nothing is left behind and an older file stays. A link
    stays, too: what it points to is replaced. A device or a pipe is written to when the block has ended.

    :raises OutputError: the place cannot be written; also for an `OSError` of the block itself.
    """
    stream = _is_stream(path)
    target = Path(tempfile.gettempdir()) / path.name if stream else target_of(path)
    temporary = temporary_beside(target)
    with _refused(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if stream:
                with path.open("ab") as file:
                    file.write(temporary.read_bytes())
            else:
                put_in_place(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def try_output(path: Path) -> None:
    """Find out now whether ``path`` can be written later; missing folders are made, nothing else is left.

    :raises OutputError: it cannot.
    """
    with _refused(path):
        if _is_stream(path):
            path.open("ab").close()
            return
        target = target_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(target).st_mode):
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
        temporary = temporary_beside(target)
        try:
            temporary.touch()
        finally:
            temporary.unlink(missing_ok=True)


def target_of(path: Path) -> Path:
    """Where a file lies that is written as ``path``: a link's end, whether there is something or not."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary_beside(path: Path) -> Path:
    """A name that nobody has, in the same folder, with the same suffix, and never too long."""
    return path.with_name(f".prosopon-{uuid.uuid4().hex[:12]}{path.suffix[-16:]}")


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a finished file its name, and the permissions of the one that it replaces.

    :raises OSError: the name cannot be taken.
    """
    with suppress(OSError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    temporary.replace(target)


def _is_stream(path: Path) -> bool:
    """Whether it is no file to be replaced but something that takes what is written to it."""
    if str(path.parent) in STREAMS:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"Cannot write {path}: {reason}; choose another place or make room.") from error
