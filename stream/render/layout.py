"""The preview picture: the input at the left, the mesh from two sides, a slim bar of figures below."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from stream.geometry import image_from_crop, transform_points
from stream.render.text import BRIGHT, DIM, draw_text
from stream.types import Array, Face

GROUND = (11, 12, 15)
ACCENT = (126, 214, 236)

GAP = 6
BAR = 38
TEXT = 15

PANE_ASPECT = 0.8
"""Width of a mesh pane relative to its height: a portrait."""

MIN_ASPECT, MAX_ASPECT = 0.75, 16 / 9


class PreviewLayout:
    """Where things stand in the preview picture; one layout lasts as long as the video it becomes.

    :param height: of the panes, pixels.
    :param frame_size: width and height of the first input frame; later ones are fitted into its place.
    :ivar pane: width and height of each of the two mesh panes, pixels.
    """

    def __init__(self, height: int, frame_size: tuple[int, int]) -> None:
        aspect = min(MAX_ASPECT, max(MIN_ASPECT, frame_size[0] / frame_size[1]))
        self._input = (_even(height * aspect), height)
        self.pane = (_even(height * PANE_ASPECT), height)
        self.size = (
            _even(self._input[0] + 2 * self.pane[0] + 4 * GAP),
            _even(height + 2 * GAP + BAR),
        )
        self._ground = np.empty((self.size[1], self.size[0], 3), dtype=np.uint8)
        self._ground[...] = GROUND

    def compose(
        self,
        image: Array,
        faces: Sequence[Face],
        panes: Sequence[tuple[str, Array]],
        lines: Sequence[str],
    ) -> Array:
        """One preview picture.

        :param image: (H, W, 3) uint8 RGB input frame.
        :param faces: whose landmarks and crops are drawn over it.
        :param panes: caption and picture (of size `pane`) of the two views.
        :param lines: short texts for the bar, most important first; those without room are left out.
        :returns: a new (H, W, 3) uint8 RGB array.
        """
        canvas = self._ground.copy()
        width, height = self._input
        place = canvas[GAP : GAP + height, GAP : GAP + width]
        fitted = _draw_input(place, image)
        for face in faces:
            draw_face(place, face, *fitted)
        draw_text(place, "input", 13, 19, TEXT, GROUND)  # a shadow, for bright pictures
        draw_text(place, "input", 12, 18, TEXT, BRIGHT)
        left = GAP + width + GAP
        for caption, picture in panes:
            place = canvas[GAP : GAP + height, left : left + self.pane[0]]
            place[...] = picture
            draw_text(place, caption, 12, 18, TEXT, DIM)
            left += self.pane[0] + GAP
        _draw_bar(canvas, GAP + height + (BAR + GAP) // 2, lines)
        return canvas


def draw_face(picture: Array, face: Face, scale: float, shift: tuple[float, float]) -> None:
    """Draw a face's landmarks as faint dots and the corners of its crop, in place.

    :param picture: (H, W, 3) uint8.
    :param scale, shift: image pixel p lies at ``p * scale + shift`` in the picture.
    """
    points = np.rint(face.landmarks[:, :2] * scale + shift).astype(np.int64)
    inside = ((points >= 0) & (points < (picture.shape[1], picture.shape[0]))).all(axis=1)
    x, y = points[inside].T
    picture[y, x] = picture[y, x] * 0.35 + np.array(ACCENT) * 0.65
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
    # A 1-pixel crop picture spans -0.5..0.5 in its own pixels, which is -1..1 in crop units.
    square = transform_points(image_from_crop(face.crop, 1), corners / 2) * scale + shift
    for i, corner in enumerate(square):
        for other in (square[i - 1], square[(i + 1) % 4]):
            _line(picture, corner, corner + (other - corner) * 0.09)


def say_no_face(picture: Array) -> Array:
    """Write that there is no face across the middle of a picture, in place, and return it."""
    height, width = picture.shape[:2]
    draw_text(picture, "no face", width // 2, height // 2, max(14, height // 24), DIM, anchor="m")
    return picture


def _draw_input(place: Array, image: Array) -> tuple[float, tuple[float, float]]:
    """Fit the image into its place; returns how image pixels map to the place's, as `draw_face` wants it."""
    height, width = place.shape[:2]
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    method = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
    place[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=method)
    offset = (scale - 1) / 2  # pixel centres: p' + 0.5 = (p + 0.5) * scale
    return scale, (left + offset, top + offset)


def _draw_bar(canvas: Array, y: int, lines: Sequence[str]) -> None:
    x = GAP + 12
    for i, line in enumerate(lines):
        if x >= canvas.shape[1] - GAP:
            break
        x += draw_text(canvas, line, x, y, TEXT, BRIGHT if i == 0 else DIM) + 2 * TEXT


def _line(picture: Array, start: Array, end: Array) -> None:
    """An antialiased line, to a sixteenth of a pixel; OpenCV clips what lies outside."""
    if not all(math.isfinite(v) and abs(v) < 1 << 20 for v in (*start, *end)):
        return
    first, last = (tuple(round(v * 16) for v in point) for point in (start, end))
    cv2.line(picture, first, last, ACCENT, 1, cv2.LINE_AA, shift=4)


def _even(value: float) -> int:
    """The nearest even whole number, which is what video wants; at least 2."""
    return max(2, 2 * round(value / 2))
