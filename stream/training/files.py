"""Writing results so that a crash never leaves half a file."""

from __future__ import annotations

import os
from pathlib import Path

from stream.errors import OutputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, then take its place.

    :raises OutputError: the folder cannot be made or written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from error
