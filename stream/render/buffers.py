"""GPU stores that are made once and written in place; they grow geometrically and never shrink."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream.render.shaders import set_uniform
from stream.types import Array

GROWTH = 1.5
MIN_BYTES = 1 << 16


class GrowingBuffer:
    """A vertex or index buffer that keeps its OpenGL object for life, so vertex arrays stay valid.

    :ivar gl_buffer: the `moderngl.Buffer`.
    """

    def __init__(self, gl: Any) -> None:
        self.gl_buffer = gl.buffer(reserve=MIN_BYTES, dynamic=True)

    def write(self, values: Array) -> None:
        """Replace the content from the start; ``values`` is C-contiguous, of any dtype and shape."""
        if values.nbytes > self.gl_buffer.size:
            self.gl_buffer.orphan(max(values.nbytes, math.ceil(self.gl_buffer.size * GROWTH)))
        if values.nbytes:
            self.gl_buffer.write(values)

    def release(self) -> None:
        """Free the memory."""
        self.gl_buffer.release()


class GrowingTexture:
    """A texture whose size may change from one write to the next; the picture fills its top-left part.

    :param components: 3 for RGB, 4 for RGBA.
    """

    def __init__(self, gl: Any, components: int = 3) -> None:
        self._gl = gl
        self._components = components
        self._filled = (1, 1)
        self._texture = gl.texture((64, 64), components)

    def write(self, pixels: Array) -> None:
        """Replace the picture; ``pixels`` is (H, W, components) uint8, top row first."""
        height, width = pixels.shape[:2]
        self._fit(width, height)
        self._texture.write(np.ascontiguousarray(pixels), viewport=(0, 0, width, height))

    def write_from(self, buffer: Any, width: int, height: int) -> None:
        """`write` of what a `moderngl.Buffer` holds from its start, as bytes without padding."""
        self._fit(width, height)
        self._texture.write(buffer, viewport=(0, 0, width, height))

    def _fit(self, width: int, height: int) -> None:
        """Make room for a picture."""
        have = self._texture.size
        if width > have[0] or height > have[1]:
            self._texture.release()
            want = [
                have[i] if side <= have[i] else max(side, math.ceil(have[i] * GROWTH))
                for i, side in enumerate((width, height))
            ]
            self._texture = self._gl.texture(tuple(want), self._components)
        self._filled = (width, height)

    def use(self, program: Any) -> None:
        """Bind to texture unit 0 and tell ``program`` which part is filled."""
        self._texture.use(0)
        store = self._texture.size
        set_uniform(program, "uv_scale", (self._filled[0] / store[0], self._filled[1] / store[1]))
        set_uniform(program, "uv_limit", (0.5 / self._filled[0], 0.5 / self._filled[1]))

    def release(self) -> None:
        """Free the memory."""
        self._texture.release()
