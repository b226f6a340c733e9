"""Small text for panels and captions, drawn once and kept."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stream.types import Array

BRIGHT = (222, 227, 234)
DIM = (140, 149, 161)


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels always have FreeType
    return font


@functools.lru_cache(maxsize=256)
def text_mask(text: str, size: int) -> Array:
    """Coverage (H, W) uint8 of one line of text; H depends on ``size`` (pixels) alone."""
    font = _font(size)
    ascent, descent = font.getmetrics()
    width = max(1, round(font.getlength(text)) + 1)
    image = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(image).text((0, ascent), text, fill=255, font=font, anchor="ls")
    return np.asarray(image)


def draw_text(
    picture: Array,
    text: str,
    x: int,
    y: int,
    size: int = 15,
    colour: tuple[int, int, int] = BRIGHT,
    anchor: str = "l",
) -> int:
    """Blend one line of text into ``picture`` (H, W, 3) uint8, in place; what sticks out is cut off.

    :param x, y: pixels; ``y`` is the line's middle.
    :param anchor: which part of the text stands at ``x``: ``l`` left, ``m`` middle, ``r`` right.
    :returns: the text's width, pixels.
    """
    mask = text_mask(text, size)
    height, width = mask.shape
    left = x - {"l": 0, "m": width // 2, "r": width}[anchor]
    top = y - height // 2
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + width), min(picture.shape[0], top + height)
    if x0 < x1 and y0 < y1:
        part = picture[y0:y1, x0:x1]
        share = mask[y0 - top : y1 - top, x0 - left : x1 - left, None] * np.float32(1 / 255)
        part[...] = part + (np.array(colour, dtype=np.float32) - part) * share
    return width


def text_block(lines: Sequence[str], size: int = 15) -> Array:
    """Lines of text on a translucent dark card: (H, W, 4) uint8 RGBA, not premultiplied."""
    masks = [text_mask(line, size) for line in lines]
    pad, gap = size, size // 3
    width = max((m.shape[1] for m in masks), default=1) + 2 * pad
    height = sum(m.shape[0] + gap for m in masks) - gap + 2 * pad - size // 2 if masks else 1
    card = np.empty((height, width, 4), dtype=np.uint8)
    card[...] = (10, 12, 16, 168)
    y = pad - size // 4
    for mask in masks:
        part = card[y : y + mask.shape[0], pad : pad + mask.shape[1]]
        share = mask[..., None] / 255.0
        part[...] = part + (np.array([*BRIGHT, 255]) - part) * share
        y += mask.shape[0] + gap
    return card
