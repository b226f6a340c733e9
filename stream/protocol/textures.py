"""The mesh protocol's texture messages: pictures as JPEGs, where there is no video (docs/protocol.md)."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from stream.errors import InputError
from stream.protocol.fragments import MAX_BODY
from stream.types import Array

HEADER = struct.Struct("<IQHH")
"""index, captured; width, height. Little-endian: 16 bytes."""

QUALITY, LEAST_QUALITY = 75, 25
"""Of the JPEG: about 40 kB for 640 x 480; and of one that would be too long for a message."""


def encode_texture(image: Array, side: int, index: int, captured: int) -> bytes:
    """The message's body.

    :param image: (H, W, 3) uint8 RGB, sent with its longer side at most ``side`` pixels.
    :param index: `Frame.index`; modulo 2^32.
    :param captured: microseconds since 1970.
    :raises InputError: it cannot be encoded.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"A picture must be uint8 RGB (H, W, 3), not {image.dtype.name} {image.shape}.")
    height, width = image.shape[:2]
    shrink = min(1.0, side / max(width, height))
    if shrink < 1:
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    for quality in (QUALITY, LEAST_QUALITY):
        done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done and HEADER.size + jpeg.size <= MAX_BODY:
            return HEADER.pack(index & 0xFFFFFFFF, captured, width, height) + jpeg.tobytes()
    raise InputError(f"A picture of {width} x {height} pixels cannot be made a JPEG that fits a message.")
