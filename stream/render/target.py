"""The picture being drawn: multisampled where that is cheap, and read back as numpy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from stream.types import Array

SAMPLES = 4

SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
"""Drivers that draw on the CPU; there, multisampling more than doubles the time of a picture."""


def usual_samples(gl: Any) -> int:
    """Samples a pixel that suit this driver: `SAMPLES`, or 0 (no multisampling) on the CPU."""
    renderer = str(gl.info["GL_RENDERER"]).lower()
    if any(name in renderer for name in SOFTWARE):
        return 0
    return min(SAMPLES, int(gl.max_samples))


class Target:
    """A framebuffer of one size with colour and depth.

    :param size: width and height, pixels.
    :param samples: samples a pixel for antialiasing; 0 for none.
    """

    def __init__(self, gl: Any, size: tuple[int, int], samples: int) -> None:
        self._gl = gl
        self.size = size
        self._picture = gl.texture(size, 4)
        self._picture.filter = (gl.NEAREST, gl.NEAREST)
        depth = gl.depth_renderbuffer(size, samples=samples)
        self._made = [self._picture, depth]
        if samples:
            colour = gl.renderbuffer(size, 4, samples=samples)
            self._drawn = gl.framebuffer([colour], depth)
            self._plain = gl.framebuffer([self._picture])
            self._made += [colour, self._drawn, self._plain]
        else:
            self._drawn = self._plain = gl.framebuffer([self._picture], depth)
            self._made.append(self._drawn)
        self._pixels = np.empty((size[1], size[0], 4), dtype=np.uint8)

    def use(self) -> None:
        """Draw here from now on; colour and depth are cleared."""
        self._drawn.use()
        self._drawn.clear()

    def use_picture(self) -> None:
        """Bind the picture, as a texture with its bottom row first, to unit 0."""
        self._resolve()
        self._picture.use(0)

    def read(self) -> Array:
        """The picture as a new (H, W, 3) uint8 RGB array, top row first."""
        self._resolve()
        # Four bytes a pixel are what the driver holds: asking for three makes it convert, slowly.
        self._plain.read_into(self._pixels, components=4, alignment=1)
        return cv2.cvtColor(self._pixels[::-1], cv2.COLOR_RGBA2RGB)

    def release(self) -> None:
        """Free the memory."""
        for item in reversed(self._made):
            item.release()

    def _resolve(self) -> None:
        """Average the samples of each pixel."""
        if self._plain is not self._drawn:
            self._gl.copy_framebuffer(self._plain, self._drawn)
