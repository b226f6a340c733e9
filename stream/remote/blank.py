"""The picture that stands where none came."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stream.types import Array, Intrinsics

GREY = 150
"""Its level."""

BLANK_SIDE = 640

NO_CAMERA = Intrinsics(1.0, 1.0, 0.0, 0.0, 640, 480)
"""Of pictures of which nothing is known."""


@lru_cache(maxsize=4)
def blank_picture(camera: Intrinsics) -> Array:
    """(H, W, 3) uint8 grey in the proportions of a camera's pictures, of bounded size; read-only."""
    scale = min(1.0, BLANK_SIDE / max(camera.width, camera.height))
    size = max(1, round(camera.height * scale)), max(1, round(camera.width * scale))
    picture = np.full((*size, 3), GREY, np.uint8)
    picture.flags.writeable = False
    return picture
