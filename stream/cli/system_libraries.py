"""Sentences for imports that fail because Debian lacks a shared library."""

from __future__ import annotations

import re

APT_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
}

ALL_PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libglib2.0-0"


def missing_library(error: ImportError) -> str | None:
    """A sentence with the apt line for an import that failed on a system library, or ``None``."""
    found = re.match(r"(lib\S+?\.so[.\d]*): cannot open shared object file", str(error))
    if not found:
        return None
    package = APT_PACKAGES.get(found[1], ALL_PACKAGES)
    return f"The system library {found[1]} is missing; install it with: apt-get install {package}"
