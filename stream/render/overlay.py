"""Flat pictures over a window's 3D picture."""

from __future__ import annotations

from typing import Any

from stream.render.buffers import GrowingTexture
from stream.render.shaders import build_program, set_uniform
from stream.types import Array


class Overlay:
    """Draws one RGBA picture, uploaded only when it is another than before."""

    def __init__(self, gl: Any) -> None:
        self._gl = gl
        self._program = build_program(gl, "screen.vert", "image.frag")
        self._array = gl.vertex_array(self._program, [])
        self._texture = GrowingTexture(gl, components=4)
        self._written: Array | None = None

    def draw(self, size: tuple[int, int], picture: Array, left: int, top: int) -> None:
        """Blend the picture (H, W, 4) uint8 into the framebuffer in use, pixel on pixel.

        :param size: width and height of that framebuffer, pixels.
        :param left, top: where the picture's top-left corner goes, pixels.
        """
        if picture is not self._written:
            self._texture.write(picture)
            self._written = picture
        x0, y0 = 2 * left / size[0] - 1, 1 - 2 * top / size[1]
        x1, y1 = x0 + 2 * picture.shape[1] / size[0], y0 - 2 * picture.shape[0] / size[1]
        self._gl.enable_only(self._gl.BLEND)
        self._texture.use(self._program)
        set_uniform(self._program, "rectangle", (x0, y1, x1, y0))
        self._array.render(self._gl.TRIANGLE_STRIP, vertices=4)
