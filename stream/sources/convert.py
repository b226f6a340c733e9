"""Any picture to what flows through the pipeline: (H, W, 3) uint8 RGB."""

from __future__ import annotations

import numpy as np

from stream.errors import InputError
from stream.types import Array

MAX_PIXELS = 100_000_000
"""Pictures larger than this are refused before they are decoded."""

DTYPES = "uint8, uint16, bool, or floating point within 0..1"


def to_rgb(picture: Array, what: str = "The picture") -> Array:
    """Convert to uint8 RGB.

    16-bit values are scaled by 1/257 (65535 becomes 255) and rounded, floats by 255, grey is repeated,
    and alpha (straight, not premultiplied) is laid over black, so that what is transparent shows nothing.

    :param picture: (H, W), or (H, W, C) with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
    :param what: named at the beginning of an error's message.
    :returns: (H, W, 3) uint8, C-contiguous; the input itself where it already is that.
    :raises InputError: another shape or dtype, empty, over 100 megapixels, not finite, or out of range.
    """
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and not 1 <= picture.shape[2] <= 4):
        raise InputError(f"{what} has the shape {picture.shape}; give (height, width) and 1 to 4 channels.")
    height, width = picture.shape[:2]
    check_size(width, height, what)
    levels = _to_uint8(picture.reshape(height, width, -1), what)
    channels = levels.shape[2]
    colour = levels[..., :1] if channels < 3 else levels[..., :3]
    if channels in (2, 4):
        colour = _over_black(colour, levels[..., -1:])
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(colour)


def check_size(width: int, height: int, what: str = "The picture") -> None:
    """Refuse what is empty or too large.

    :raises InputError: no pixel at all, or more than `MAX_PIXELS`.
    """
    if width < 1 or height < 1:
        raise InputError(f"{what} is empty ({width}x{height} pixels).")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{what} has {width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels; shrink it."
        )


def _to_uint8(picture: Array, what: str) -> Array:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.dtype == np.bool_:
        return picture.astype(np.uint8) * np.uint8(255)
    if picture.dtype.kind != "f":
        raise InputError(f"{what} has values of type {picture.dtype}; give {DTYPES}.")
    if not np.isfinite(picture).all():
        raise InputError(f"{what} holds values that are not finite; give {DTYPES}.")
    if picture.min() < 0 or picture.max() > 1:
        raise InputError(f"{what} holds floating-point values outside 0..1; give {DTYPES}.")
    return np.rint(picture * 255).astype(np.uint8)


def _over_black(colour: Array, alpha: Array) -> Array:
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
