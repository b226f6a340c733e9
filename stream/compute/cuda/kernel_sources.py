"""The text of the kernels in ``kernels/``, with what each includes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from stream.errors import BackendError

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([\w.]+\.cuh)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sources:
    """One kernel family.

    :ivar text: of kernels/``family``.cu.
    :ivar headers: text by name, in the order in which they are first included.
    """

    family: str
    text: str
    headers: dict[str, str]


def kernel_families() -> list[str]:
    """The families there are, by name; ``stream/kernels`` is a link to the top folder."""
    folder = resources.files("stream").joinpath("kernels")
    return sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".cu"))


def read_sources(family: str) -> Sources:
    """The sources of one family.

    :raises BackendError: a file is not there.
    """
    text = _read(f"{family}.cu")
    headers: dict[str, str] = {}
    waiting = _INCLUDE.findall(text)
    while waiting:
        name = waiting.pop(0)
        if name not in headers:
            headers[name] = _read(name)
            waiting += _INCLUDE.findall(headers[name])
    return Sources(family, text, headers)


def _read(name: str) -> str:
    try:
        return resources.files("stream").joinpath("kernels", name).read_text(encoding="utf-8")
    except OSError as error:
        raise BackendError(
            f"kernels/{name} cannot be read ({error.strerror}); install prosopon again."
        ) from error
