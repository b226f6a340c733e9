from __future__ import annotations

import ctypes
import gc
import threading
from typing import Any

import numpy as np
import psutil
import pytest
from render.render_helpers import PLAIN, square

from stream.errors import BackendError, ConfigError
from stream.render.context import EGL_APT, open_context, probe_context
from stream.render.display import Event, has_display
from stream.render.scene import MeshScene
from stream.render.view import CameraView


@pytest.fixture
def no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def test_egl_draws_and_closes_twice(egl):
    assert egl.name == "egl"
    assert egl.gl.version_code >= 330
    assert egl.size == (64, 64)
    assert not egl.closed
    assert list(egl.poll()) == []
    egl.present()
    egl.close()
    egl.close()


@pytest.mark.usefixtures("egl")
def test_auto_without_a_display_is_egl(no_display):
    info = probe_context("auto")
    assert info.name == "egl"
    assert info.renderer
    assert info.version[0].isdigit()


@pytest.mark.usefixtures("egl")
def test_auto_with_a_dead_display_is_egl(monkeypatch):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4059")
    assert probe_context("auto").name == "egl"
    with pytest.raises(BackendError, match=r"apt-get install .*libx11-6"):
        open_context("window")


def test_a_window_without_a_display_says_so(no_display):
    with pytest.raises(BackendError, match="DISPLAY"):
        open_context("window")


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="auto, egl, window"):
        open_context("vulkan")
    for size in ((0, 5), (5, 100_000)):
        with pytest.raises(ConfigError, match="8192"):
            open_context("egl", size)


def test_missing_libraries_name_the_packages(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(BackendError, match=EGL_APT):
        open_context("egl")


def test_a_missing_driver_names_the_packages(egl, monkeypatch):
    import moderngl

    def fail(**_):
        raise Exception("eglInitialize failed")  # what moderngl raises

    monkeypatch.setattr(moderngl, "create_context", fail)
    with pytest.raises(BackendError, match=r"eglInitialize failed.*libgl1-mesa-dri"):
        open_context("egl")


@pytest.mark.usefixtures("display")
def test_a_window_without_opengl_is_refused_and_auto_falls_back(egl, monkeypatch):
    import moderngl

    create = moderngl.create_context

    def fail_in_windows(**options):
        if "standalone" not in options:
            raise Exception("cannot detect OpenGL context")  # what moderngl raises
        return create(**options)

    egl.close()
    monkeypatch.setattr(moderngl, "create_context", fail_in_windows)
    with pytest.raises(BackendError, match=r"cannot detect OpenGL context.*apt-get install libgl1"):
        open_context("window", (64, 64), visible=False)
    assert probe_context("auto").name == "egl"


def resident(process: psutil.Process) -> int:
    """Bytes in use, without what the allocator keeps after all that ran in this process before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return process.memory_info().rss


@pytest.mark.usefixtures("egl")
def test_contexts_opened_and_closed_on_threads_do_not_leak():
    process = psutil.Process()
    pictures = []

    def work():
        context = open_context("egl")
        scene = MeshScene(context)
        scene.draw([square()], CameraView(PLAIN), "lit", (256, 256))
        pictures.append(scene.read())
        context.close()

    def run(times):
        for _ in range(times):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    run(5)
    memory, files, threads = resident(process), process.num_fds(), process.num_threads()
    run(20)
    assert len(pictures) == 25
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert resident(process) - memory < 40e6  # a context left current keeps over 6 MB each time
    assert process.num_fds() <= files
    assert process.num_threads() <= threads + 1


@pytest.mark.usefixtures("display")
def test_a_window_reports_keys_drags_and_scrolling():
    context: Any = open_context("window", (320, 200))
    try:
        import glfw

        window = context._window
        assert context.size == (320, 200)
        context.poll()
        context._on_key(window, glfw.KEY_ESCAPE, 0, glfw.PRESS, 0)
        context._on_key(window, glfw.KEY_3, 0, glfw.PRESS, 0)
        context._on_key(window, glfw.KEY_3, 0, glfw.RELEASE, 0)
        context._on_key(window, glfw.KEY_W, glfw.get_key_scancode(glfw.KEY_W), glfw.PRESS, 0)
        context._on_scroll(window, 0.0, -1.0)
        context._on_move(window, 10.0, 10.0)  # no button held
        context._on_refresh(window)
        events = list(context.poll())
        while events[-2:] == [Event("refresh")] * 2:  # the display may add its own
            events.pop()
        assert events == [
            Event("key", "escape"),
            Event("key", "3"),
            Event("key", "w"),
            Event("scroll", dy=-1.0),
            Event("refresh"),
        ]
        assert list(context.poll()) == []
        glfw.set_window_should_close(window, True)
        assert context.closed
    finally:
        context.close()
    context.close()
    assert context.closed


@pytest.mark.usefixtures("display")
def test_a_drag_is_measured_in_window_heights(monkeypatch):
    context: Any = open_context("window", (320, 200))
    try:
        glfw = context._glfw
        monkeypatch.setattr(glfw, "get_mouse_button", lambda window, button: glfw.PRESS)
        context._on_move(context._window, 100.0, 50.0)
        context._on_move(context._window, 150.0, 30.0)
        drags = [event for event in context.poll() if event.kind == "drag"]
        assert drags == [Event("drag", dx=0.25, dy=-0.1)]
    finally:
        context.close()


@pytest.mark.usefixtures("display")
def test_auto_prefers_a_window_that_opens():
    assert has_display()
    assert probe_context("auto").name == "window"
