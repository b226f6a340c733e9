"""What every OpenGL context here shares: the version, the display, and what happens on it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Literal

GL_VERSION = 330
"""OpenGL 3.3 core: what every desktop driver of the last decade and Mesa's software one give."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing the person at a window did, or the system.

    :ivar kind: ``key`` (pressed), ``drag`` (moved with the left button held), ``scroll``, or ``refresh``
        (what was shown is lost and must be drawn again).
    :ivar key: the key's name in lower case for ``key`` (``a``, ``1``, ``escape``), else empty.
    :ivar dx, dy: movement for ``drag`` in window heights, right and down positive; wheel steps for
        ``scroll``, away from the person positive.
    """

    kind: Literal["key", "drag", "scroll", "refresh"]
    key: str = ""
    dx: float = 0.0
    dy: float = 0.0


def has_display() -> bool:
    """True if this process was given a display to open windows on."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True
