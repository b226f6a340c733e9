"""A clock in the picture: the capture time as black and white blocks that survive video coding and scaling.

It stands below the picture, never over the face, and takes a sixteenth of the new height.
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from stream.types import Array

COLUMNS, ROWS = 32, 2
"""Blocks of the strip: 52 bits of time, then 12 of a check sum, most significant first."""

CHECK_BITS = 12

PART = 16
"""The strip is this part of the whole height."""


def with_clock(image: Array, micros: int) -> Array:
    """The picture with a strip below it.

    :param image: (H, W, 3) uint8 RGB, at least 64 x 64.
    :param micros: microseconds since 1970, below 2^52 (the year 2112).
    :returns: (H + H / 15, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    word = micros << CHECK_BITS | _check(micros)
    bits = [word >> place & 1 for place in reversed(range(ROWS * COLUMNS))]
    blocks = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * np.uint8(255)
    size = width, round(height / (PART - 1))
    strip = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
    return np.concatenate([image, np.repeat(strip[..., None], 3, axis=2)])


def read_clock(picture: Array) -> int | None:
    """The time that a picture's strip shows, whatever size it was scaled to; None where it is not legible.

    :param picture: (H, W, 3) uint8 RGB.
    """
    height = picture.shape[0]
    strip = picture[height - height // PART :].mean(axis=2).astype(np.float32)
    # Each block becomes four by four means, of which the inner ones are clear of its neighbours.
    fine = cv2.resize(strip, (4 * COLUMNS, 4 * ROWS), interpolation=cv2.INTER_AREA)
    blocks = fine.reshape(ROWS, 4, COLUMNS, 4)[:, 1:3, :, 1:3].mean(axis=(1, 3))
    word = 0
    for bit in (blocks > 127.5).ravel():
        word = word << 1 | int(bit)
    micros, check = word >> CHECK_BITS, word & (1 << CHECK_BITS) - 1
    return micros if micros and check == _check(micros) else None


def _check(micros: int) -> int:
    return zlib.crc32(micros.to_bytes(8, "little")) & (1 << CHECK_BITS) - 1
