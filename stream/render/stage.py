"""Pipeline stages that draw without a window: one view, or the preview layout."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from stream.errors import ConfigError, InputError
from stream.render.context import MAX_SIDE, RenderContext, open_context
from stream.render.layout import PreviewLayout, say_no_face
from stream.render.scene import MeshScene, mesh_bounds
from stream.render.view import OrbitView
from stream.types import Array, Capture

PanelLines = Callable[[], Sequence[str]]
"""Gives the lines of text that a panel shows now; called on the render thread."""

LINES_SECONDS = 0.2
"""A panel's figures are asked for at most this often: faster than this nobody can read them."""

MIN_SIZE = 16


class LineCache:
    """A panel's lines, asked for at most every `LINES_SECONDS`."""

    def __init__(self, panel: PanelLines) -> None:
        self._panel = panel
        self._lines: tuple[str, ...] = ()
        self._due = float("-inf")

    def lines(self) -> tuple[str, ...]:
        """The lines, at most `LINES_SECONDS` old; the same object until they are asked for again."""
        now = time.monotonic()
        if now >= self._due:
            self._lines = tuple(self._panel())
            self._due = now + LINES_SECONDS
        return self._lines


def no_lines() -> Sequence[str]:
    """A panel with nothing to say."""
    return ()


def follow_meshes(capture: Capture, *orbits: OrbitView) -> None:
    """Let orbit views follow the capture's meshes, in capture time; they stay where there are none."""
    bounds = mesh_bounds(capture.meshes)
    if bounds is not None:
        for orbit in orbits:
            orbit.follow(*bounds, capture.frame.captured)


def _check_size(size: int) -> int:
    if not MIN_SIZE <= size <= MAX_SIDE // 2:
        raise ConfigError(
            f"A render size of {size} is out of range; use {MIN_SIZE} to {MAX_SIDE // 2} pixels."
        )
    return size


def _check_image(image: Array) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != "uint8" or not image.size:
        raise InputError(f"A frame must be (H, W, 3) uint8 and not empty, not {image.shape} {image.dtype}.")


class _HeadlessStage:
    """Opens and closes what drawing without a window needs."""

    name = "render"

    def __init__(self) -> None:
        self._context: RenderContext | None = None
        self._scene: MeshScene | None = None

    def open(self) -> None:
        """Open the context and build the shaders.

        :raises BackendError: there is no EGL here; the message says what to install.
        """
        self._context = open_context("egl")
        self._scene = MeshScene(self._context)

    def close(self) -> None:
        """Free the context and all that was made with it."""
        try:
            if self._scene is not None:
                self._scene.release()
        finally:
            if self._context is not None:
                self._context.close()
            self._context = self._scene = None

    @property
    def scene(self) -> MeshScene:
        """The scene, while open.

        :raises InputError: the stage is not open.
        """
        if self._scene is None:
            raise InputError("The render stage is not open; call open() on the thread that uses it.")
        return self._scene


class RenderStage(_HeadlessStage):
    """Draws each capture's textured meshes as one picture, off screen, from a view that follows the face.

    :param size: side of the square picture, pixels.
    :raises ConfigError: the size is out of range.
    """

    def __init__(self, size: int = 512) -> None:
        super().__init__()
        self._size = _check_size(size)
        self._orbit = OrbitView()

    def __call__(self, capture: Capture) -> Capture:
        """The capture with its ``picture``; without a mesh the picture says that there is no face.

        :raises InputError: a mesh is not usable.
        """
        follow_meshes(capture, self._orbit)
        self.scene.draw(capture.meshes, self._orbit, "textured", (self._size, self._size))
        picture = self.scene.read()
        return replace(capture, picture=picture if capture.meshes else say_no_face(picture))


class PreviewStage(_HeadlessStage):
    """Draws the preview: the input, the textured mesh from one side, the lit one from the other, figures.

    :param panel: gives the figures to show below.
    :param height: of the panes, pixels.
    :raises ConfigError: the height is out of range.
    """

    def __init__(
        self,
        panel: PanelLines = no_lines,
        height: int = 480,
    ) -> None:
        super().__init__()
        self._height = _check_size(height)
        self._panel = LineCache(panel)
        self._views = (("textured", OrbitView(-25.0)), ("lit", OrbitView(40.0)))
        self._layout: PreviewLayout | None = None

    def __call__(self, capture: Capture) -> Capture:
        """The capture with its ``picture``, of the same size for every capture.

        :raises InputError: a mesh or the frame is not usable.
        """
        image = capture.frame.image
        _check_image(image)
        if self._layout is None:
            self._layout = PreviewLayout(self._height, (image.shape[1], image.shape[0]))
        panes = []
        follow_meshes(capture, *(view for _, view in self._views))
        for mode, view in self._views:
            self.scene.draw(capture.meshes, view, mode, self._layout.pane)
            picture = self.scene.read()
            panes.append((mode, picture if capture.meshes else say_no_face(picture)))
        return replace(
            capture,
            picture=self._layout.compose(
                image, [person.face for person in capture.people], panes, self._panel.lines()
            ),
        )
