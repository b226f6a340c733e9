"""A window with an OpenGL context and its input, through GLFW (X11 and Wayland)."""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from stream.errors import BackendError
from stream.render.display import GL_VERSION, Event, has_display

TITLE = "Prosopon"

WINDOW_APT = "apt-get install libgl1 libgl1-mesa-dri libx11-6 libxcursor1 libxi6 libxinerama1 libxrandr2"

_NAMED_KEYS = {"KEY_ESCAPE": "escape", "KEY_SPACE": "space", "KEY_TAB": "tab", "KEY_ENTER": "enter"}


class _Loader:
    """Finds OpenGL's functions through GLFW, so that GLX and EGL windows are the same to moderngl."""

    def __init__(self, glfw: Any) -> None:
        self._glfw = glfw

    def load_opengl_function(self, name: str) -> int:
        """Address of one OpenGL function, 0 where the driver has none."""
        return ctypes.cast(self._glfw.get_proc_address(name), ctypes.c_void_p).value or 0

    def release(self) -> None:
        """Nothing: GLFW frees the context together with its window."""


class GlfwContext:
    """A resizable window without vsync; see `stream.render.context.RenderContext`.

    One at a time in a process; all calls on the thread that made it.

    :raises BackendError: there is no display, GLFW is missing, or the driver gives no OpenGL 3.3.
    """

    name = "window"

    def __init__(self, size: tuple[int, int], visible: bool) -> None:
        if sys.platform.startswith("linux") and not has_display():
            raise BackendError("No display to open a window on; set DISPLAY, or use the egl render context.")
        self._glfw = _load_glfw()
        self._error = "no reason given"
        self._events: list[Event] = []
        self._pointer: tuple[float, float] | None = None
        self._glfw.set_error_callback(self._on_error)
        if not self._glfw.init():
            raise BackendError(f"No window can be opened ({self._error}); install: {WINDOW_APT}")
        try:
            self._window = self._create(size, visible)
            self.gl = self._attach()
        except BaseException:
            self._glfw.terminate()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the window's framebuffer, pixels (0 while it is minimised)."""
        width, height = self._glfw.get_framebuffer_size(self._window)
        return int(width), int(height)

    @property
    def closed(self) -> bool:
        """True once somebody closed the window, or `close` was called."""
        return self._window is None or bool(self._glfw.window_should_close(self._window))

    def poll(self) -> Sequence[Event]:
        """Let the window react, and return what was done to it since the last call."""
        self._glfw.poll_events()
        events, self._events = self._events, []
        return events

    def present(self) -> None:
        """Show what was drawn to ``gl.screen``."""
        self._glfw.swap_buffers(self._window)

    def close(self) -> None:
        """Close the window and free its context; a second call does nothing."""
        if self._window is None:
            return
        self.gl.release()
        self._glfw.destroy_window(self._window)
        self._window = None
        self._glfw.terminate()

    def _create(self, size: tuple[int, int], visible: bool) -> Any:
        glfw = self._glfw
        glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, GL_VERSION // 100)
        glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, GL_VERSION % 100 // 10)
        glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
        glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)
        glfw.window_hint(glfw.SCALE_TO_MONITOR, True)
        glfw.window_hint(glfw.VISIBLE, visible)
        window = glfw.create_window(*size, TITLE, None, None)
        if not window:
            raise BackendError(f"No OpenGL 3.3 window can be opened ({self._error}); try: {WINDOW_APT}")
        glfw.set_key_callback(window, self._on_key)
        glfw.set_cursor_pos_callback(window, self._on_move)
        glfw.set_scroll_callback(window, self._on_scroll)
        glfw.set_window_refresh_callback(window, self._on_refresh)
        return window

    def _attach(self) -> Any:
        import moderngl

        self._glfw.make_context_current(self._window)
        self._glfw.swap_interval(0)  # the camera sets the pace; vsync would add up to a frame of latency
        settings: dict[str, Any] = {"context": _Loader(self._glfw)}
        try:
            return moderngl.create_context(require=GL_VERSION, **settings)
        except Exception as error:  # moderngl raises bare Exception here
            raise BackendError(
                f"The window gives no OpenGL 3.3 context ({error}); install a driver with: {WINDOW_APT}"
            ) from error

    def _on_error(self, _code: int, text: bytes | str) -> None:
        self._error = text.decode(errors="replace") if isinstance(text, bytes) else text

    def _on_key(self, _window: Any, key: int, scancode: int, action: int, _mods: int) -> None:
        if action != self._glfw.PRESS:
            return
        for constant, name in _NAMED_KEYS.items():
            if key == getattr(self._glfw, constant):
                self._events.append(Event("key", name))
                return
        if ord("0") <= key <= ord("9"):  # digits by place, since some layouts need shift for them
            self._events.append(Event("key", chr(key)))
        elif name := self._glfw.get_key_name(key, scancode):  # letters by what the keyboard's layout says
            self._events.append(Event("key", str(name).lower()))

    def _on_move(self, window: Any, x: float, y: float) -> None:
        held = self._glfw.get_mouse_button(window, self._glfw.MOUSE_BUTTON_LEFT) == self._glfw.PRESS
        if held and self._pointer is not None:
            height = max(1, self._glfw.get_window_size(window)[1])
            dx, dy = (x - self._pointer[0]) / height, (y - self._pointer[1]) / height
            self._events.append(Event("drag", dx=dx, dy=dy))
        self._pointer = (x, y) if held else None

    def _on_scroll(self, _window: Any, dx: float, dy: float) -> None:
        self._events.append(Event("scroll", dx=dx, dy=dy))

    def _on_refresh(self, _window: Any) -> None:
        self._events.append(Event("refresh"))


def _load_glfw() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import glfw
    except ImportError as error:
        raise BackendError(
            f"Windows need GLFW ({error}); install it with: pip install glfw, and {WINDOW_APT}"
        ) from error
    module: Any = glfw
    module.ERROR_REPORTING = False
    return module
