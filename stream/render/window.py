"""The interactive window, as a pipeline stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from stream.errors import OutputError, ProsoponError
from stream.files import atomic_path
from stream.outputs.recorder import VideoRecorder
from stream.pipeline.demand import EVERY, Demand
from stream.render.context import RenderContext, open_context
from stream.render.controls import HELP, Action, Controls
from stream.render.overlay import Overlay
from stream.render.scene import MeshScene
from stream.render.stage import LineCache, PanelLines, follow_meshes, no_lines
from stream.render.text import text_block
from stream.render.view import CameraView, View
from stream.types import Array, Capture

_log = logging.getLogger(__name__)

MESSAGE_SECONDS = 3.0
TEXT = 16
EDGE = 14
"""Distance of the panels from the window's edge, pixels."""


def _nothing() -> None:
    """What happens on closing unless somebody wants to know."""


class WindowStage:
    """Shows each capture's meshes in a window, and lets a person look around.

    Keys and mouse are in `stream.render.controls`. Screenshots and recordings go to ``folder``. The window
    lives on while no capture comes, and stays when the source has ended (see `Stage`).

    :param panel: gives the figures shown at the window's top left.
    :param on_close: called once, on this stage's thread, when the person closes the window or quits.
    :param size: width and height to begin with, pixels.
    :ivar holds: True until the person closes the window.
    """

    name = "render"
    wants: ClassVar[Demand] = {"mesh": EVERY}

    def __init__(
        self,
        panel: PanelLines = no_lines,
        on_close: Callable[[], None] = _nothing,
        size: tuple[int, int] = (1280, 720),
        folder: Path = Path("out"),
    ) -> None:
        self._panel = LineCache(panel)
        self._on_close = on_close
        self._size = size
        self._folder = folder
        self._controls = Controls()
        self.holds = True
        self._context: RenderContext | None = None
        self._recorder: VideoRecorder | None = None
        self._message = ("press H for help", time.monotonic() + 2 * MESSAGE_SECONDS)
        self._cards: dict[str, tuple[tuple[str, ...], Array]] = {}
        self._failure: OutputError | None = None
        self._last: Capture | None = None
        self._last_time = 0.0
        self._shown: tuple[tuple[int, int], tuple[str, ...]] | None = None

    def open(self) -> None:
        """Open the window.

        :raises BackendError: there is no display or no OpenGL; the message says what to install.
        """
        self._context = open_context("window", self._size)
        self._scene = MeshScene(self._context)
        self._overlays = {name: Overlay(self._context.gl) for name in ("panel", "help")}
        # Until the first capture comes, which may take seconds, there is at least the background to see.
        self._scene.draw((), self._controls.orbit, self._controls.mode, self._context.size)
        self._scene.show(self._context.size)
        self._context.present()

    def __call__(self, capture: Capture) -> Capture:
        """React to the person, draw, and pass the capture on; after closing, only pass it on.

        :raises InputError: a mesh is not usable.
        """
        if (context := self._context) is None:
            return capture
        actions = self._controls.apply(context.poll())
        if Action.QUIT in actions or context.closed:
            self._quit()
            return capture
        self._refresh(context, capture, actions, capture.frame.captured)
        self._last, self._last_time = capture, time.monotonic()
        return capture

    def idle(self) -> None:
        """React to the person while no capture comes; draw the last one again when something changed."""
        if (context := self._context) is None:
            return
        events = context.poll()
        actions = self._controls.apply(events)
        if Action.QUIT in actions or context.closed:
            self._quit()
        elif (last := self._last) is not None and (events or self._stale(context, last)):
            since = time.monotonic() - self._last_time
            self._refresh(context, last, actions, last.frame.captured + since)

    def close(self) -> None:
        """Finish a recording and close the window.

        :raises OutputError: the recording cannot be finished, or could not when the person closed the window;
            the window is closed all the same.
        """
        failure, self._failure = self._failure, None
        try:
            self._stop_recording()
        finally:
            self._last = None
            if self._context is not None:
                try:
                    if hasattr(self, "_scene"):  # not where the opening failed
                        self._scene.release()
                finally:
                    self._context.close()
                    self._context = None
        if failure is not None:
            raise failure

    def _quit(self) -> None:
        """Close at the person's wish; what fails then is told when the pipeline closes the stage."""
        self.holds = False
        try:
            self.close()
        except OutputError as error:
            self._failure = error
        self._on_close()

    def _refresh(self, context: RenderContext, capture: Capture, actions: list[Action], when: float) -> None:
        """Draw the capture, do what was asked for, and show it; ``when`` is its time in a recording."""
        width, height = context.size
        if width and height:  # a minimised window has no pixels
            self._draw(capture, (width, height))
            self._act(actions, when)
            self._show(context, capture)

    def _draw(self, capture: Capture, size: tuple[int, int]) -> None:
        """Draw the meshes off screen, where screenshots and recordings are taken from."""
        follow_meshes(capture, self._controls.orbit)
        view: View = self._controls.orbit
        background = None
        if self._controls.over_input:
            background = capture.frame.image
            if capture.people:
                view = CameraView(capture.people[0].face.intrinsics)
        self._scene.draw(capture.meshes, view, self._controls.mode, size, background)

    def _show(self, context: RenderContext, capture: Capture) -> None:
        """Bring the picture and the panels to the screen."""
        size, lines = context.size, self._panel_lines(capture)
        self._scene.show(size)
        top = self._card("panel", size, lines, EDGE)
        if self._controls.show_help:
            self._card("help", size, HELP, top + EDGE)
        context.present()
        self._shown = (size, lines)

    def _stale(self, context: RenderContext, capture: Capture) -> bool:
        """Whether the window's size or the panel's words are no longer those that are shown."""
        return self._shown != (context.size, self._panel_lines(capture))

    def _card(self, name: str, size: tuple[int, int], lines: tuple[str, ...], top: int) -> int:
        """Draw one panel; returns where it ends, pixels from the top."""
        if not lines:
            return top
        if name not in self._cards or self._cards[name][0] != lines:
            self._cards[name] = (lines, text_block(lines, TEXT))
        picture = self._cards[name][1]
        self._overlays[name].draw(size, picture, EDGE, top)
        return top + int(picture.shape[0])

    def _panel_lines(self, capture: Capture) -> tuple[str, ...]:
        view = "camera's view" if self._controls.over_input else "orbit"
        lines = [*self._panel.lines(), f"{self._controls.mode}, {view}"]
        if not capture.meshes:
            lines.append("no face")
        if self._recorder is not None:
            lines.append(f"recording {self._recorder.path.name}")
        if time.monotonic() < self._message[1]:
            lines.append(self._message[0])
        return tuple(lines)

    def _act(self, actions: list[Action], when: float) -> None:
        """Take screenshots and record; a failure is said in the window, and the stream goes on."""
        try:
            if Action.SCREENSHOT in actions:
                path = self._folder / f"prosopon-{_stamp()}.png"
                save_picture(path, self._scene.read())
                self._say(f"saved {path}")
            if Action.RECORD in actions:
                self._toggle_recording()
            if self._recorder is not None:
                self._recorder.write(self._scene.read(), when)
        except ProsoponError as error:
            recorder, self._recorder = self._recorder, None
            if recorder is not None:
                with suppress(ProsoponError):  # the first failure is the one to tell
                    recorder.close()
            self._say(str(error))

    def _toggle_recording(self) -> None:
        if self._recorder is not None:
            self._stop_recording()
            return
        recorder = VideoRecorder(self._folder / f"prosopon-{_stamp()}.mp4")
        recorder.open()
        self._recorder = recorder

    def _stop_recording(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()
            self._say(f"saved {recorder.path}" if recorder.finished else "nothing was recorded")

    def _say(self, message: str) -> None:
        _log.info("%s", message)
        self._message = (message, time.monotonic() + MESSAGE_SECONDS)


def save_picture(path: Path, picture: Array) -> None:
    """Write an (H, W, 3) uint8 RGB picture as PNG.

    :raises OutputError: it cannot be written there.
    """
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(picture)).save(temporary, format="PNG", compress_level=3)


def _stamp() -> str:
    """The time of day as part of a file name, unique to the millisecond."""
    return datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
