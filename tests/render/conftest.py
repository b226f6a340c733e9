"""Contexts for the render tests; what cannot be opened here is skipped, with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from stream.errors import BackendError
from stream.render.context import open_context
from stream.render.scene import MeshScene


@pytest.fixture
def egl():
    """A headless context, current on this thread."""
    try:
        context = open_context("egl", (64, 64))
    except BackendError as error:
        pytest.skip(str(error))
    yield context
    context.close()


@pytest.fixture
def scene(egl):
    """A scene without multisampling, so that pictures are the same on every driver."""
    return MeshScene(egl, samples=0)


@pytest.fixture(scope="session")
def _virtual_display():
    """A display of our own, so that tests neither need one nor open windows on somebody's screen."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("Xvfb is not installed: apt-get install xvfb")
    read, write = os.pipe()
    arguments = [program, "-displayfd", str(write), "-screen", "0", "800x600x24", "-noreset"]
    server = subprocess.Popen(arguments, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield f":{number}" if number else None
    server.terminate()
    server.wait(10)


@pytest.fixture
def display(_virtual_display, monkeypatch):
    """`DISPLAY` set to a virtual display on which a window opens."""
    if _virtual_display is None:
        pytest.skip("Xvfb does not start here")
    monkeypatch.setenv("DISPLAY", _virtual_display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    try:
        open_context("window", (64, 64), visible=False).close()
    except BackendError as error:
        pytest.skip(str(error))
