"""OpenGL contexts, headless (EGL) and in a window (GLFW), behind one interface.

OpenGL objects belong to the thread that made them: open, use and close a context on one thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stream.errors import BackendError, ConfigError
from stream.render.display import GL_VERSION, Event, has_display

EGL_APT = "apt-get install libegl1 libgl1 libgl1-mesa-dri"

CONTEXT_NAMES = ("auto", "egl", "window")

MAX_SIDE = 8192
"""Largest picture or window side, pixels."""


class RenderContext(Protocol):
    """An open OpenGL context.

    :ivar name: ``egl`` or ``window``.
    :ivar gl: the `moderngl.Context`, current on the thread that opened it.
    """

    name: str
    gl: Any

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of what is shown."""

    @property
    def closed(self) -> bool:
        """True once somebody closed the window; never for a headless context."""

    def poll(self) -> Sequence[Event]:
        """What happened since the last call; empty for a headless context."""

    def present(self) -> None:
        """Show what was drawn to ``gl.screen``; does nothing for a headless context."""

    def close(self) -> None:
        """Free the context and everything made with it; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """What `probe_context` found: the context's name, and the driver's (such as ``llvmpipe``) and version."""

    name: str
    renderer: str
    version: str


def open_context(
    name: str = "auto", size: tuple[int, int] = (1280, 720), visible: bool = True
) -> RenderContext:
    """Open a context by name: ``egl``, ``window``, or ``auto`` (a window if one can be shown, else EGL).

    :param size: width and height of the window, pixels; a headless context only remembers it.
    :param visible: whether a window is shown.
    :raises ConfigError: the name is unknown or the size is not within 1..8192.
    :raises BackendError: the context cannot be opened; the message says what to install.
    """
    if name not in CONTEXT_NAMES:
        raise ConfigError(f"Unknown render context '{name}'; use one of {', '.join(CONTEXT_NAMES)}.")
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise ConfigError(f"A window of {size[0]}x{size[1]} pixels cannot be opened; use 1 to {MAX_SIDE}.")
    if name == "window":
        return _open_window(size, visible)
    if name == "auto" and has_display():
        try:
            return _open_window(size, visible)
        except BackendError:
            pass  # a display without OpenGL: headless pictures are better than none
    return EglContext(size)


def probe_context(name: str = "auto") -> ContextInfo:
    """Open and close a context out of sight, to learn whether it works and which one ``auto`` means.

    :raises ConfigError, BackendError: as `open_context`.
    """
    context = open_context(name, (64, 64), visible=False)
    try:
        info = context.gl.info
        return ContextInfo(context.name, str(info["GL_RENDERER"]), str(info["GL_VERSION"]))
    finally:
        context.close()


def _open_window(size: tuple[int, int], visible: bool) -> RenderContext:
    from stream.render.glfw_window import GlfwContext  # GLFW is loaded only where a window is wanted

    return GlfwContext(size, visible)


class EglContext:
    """A headless context: no display, drawing goes to framebuffer objects only.

    :raises BackendError: there is no EGL or no OpenGL 3.3 driver behind it.
    """

    name = "egl"

    def __init__(self, size: tuple[int, int]) -> None:
        import moderngl

        self._size = size
        self._open = True
        try:
            self._egl = ctypes.CDLL("libEGL.so.1")
            ctypes.CDLL("libGL.so.1")
        except OSError as error:
            raise BackendError(
                f"Headless rendering needs EGL and OpenGL ({error}); install them with: {EGL_APT}"
            ) from error
        libraries: dict[str, Any] = {"backend": "egl", "libegl": "libEGL.so.1", "libgl": "libGL.so.1"}
        try:
            self.gl = moderngl.create_context(require=GL_VERSION, standalone=True, **libraries)
        except Exception as error:  # moderngl raises bare Exception here
            raise BackendError(
                f"EGL gives no OpenGL 3.3 context ({error}); install a driver with: {EGL_APT}"
            ) from error

    @property
    def size(self) -> tuple[int, int]:
        """The size asked for, pixels."""
        return self._size

    @property
    def closed(self) -> bool:
        """Always False: there is no window to close."""
        return False

    def poll(self) -> Sequence[Event]:
        """Nothing ever happens here."""
        return ()

    def present(self) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Free the context; must run on the thread that opened it."""
        if not self._open:
            return
        self._open = False
        self.gl.release()
        # A context still current on its thread is only marked for deletion: 6 MB would leak each time.
        self._egl.eglReleaseThread()
