"""What is printed: text as it stands, on streams that may go away without taking the work with them."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text with control characters spelled out, so that a name cannot steer the terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class PlainConsole(Console):
    """Rich's console for text that others wrote: no markup, no emoji codes, no control characters; and a
    sentence stays on one line, so that a path in it can be copied."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """See `Console.print`."""
        if all(isinstance(item, str) for item in objects):
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `Console.render_str`; sentences, titles and cells of tables all come by here."""
        return super().render_str(printable(text), **options)


class LastingFile(io.FileIO):
    """A stream's descriptor; what cannot be written (a full disk, a lost terminal) is dropped."""

    def write(self, data: Any) -> int:
        """See `io.FileIO.write`."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def keep_streams() -> None:
    """Make standard output and error outlive whoever reads them.

    Standard error becomes a descriptor of its own: libraries that are loaded quietly take descriptor 2 away
    for that time; what we say must not go there. A standard output that somebody put in its place stays.
    """
    # Where one was closed, the next file opened would get its number, and everything printed.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lasting(1)
    sys.stderr = _lasting(os.dup(2))


def _lasting(descriptor: int) -> TextIO:
    file = LastingFile(descriptor, "w", closefd=False)
    # File names need not be text: what is not is shown by its bytes.
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding=_encoding(), errors="backslashreplace", line_buffering=True
    )


def _encoding() -> str:
    return getattr(sys.__stdout__, "encoding", None) or "utf-8"
