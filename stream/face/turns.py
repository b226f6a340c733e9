"""Pictures turned by quarters, and landmarks turned back."""

from __future__ import annotations

import numpy as np

from stream.types import Array

ORDER = (2, 1, 3)
"""Quarters tried after the present one; phones and beds turn people by any."""

EVERY = 3
"""One look at a turned picture in so many searches, since it costs as much as the search itself."""


class QuarterTurns:
    """By how many quarters pictures are turned for the tracker, and what to try next while nobody is found.

    :ivar now: quarters, anticlockwise as seen.
    """

    def __init__(self) -> None:
        self.now = 0
        self._searches = 0

    def next_try(self) -> int | None:
        """Called at each search that found nobody: the turn to look at besides, or None this time."""
        self._searches += 1
        tries, left = divmod(self._searches, EVERY)
        return None if left else (self.now + ORDER[tries % len(ORDER)]) % 4


def turn_image(image: Array, quarters: int) -> Array:
    """The picture (H, W, 3) turned anticlockwise, C-contiguous; itself where it is not turned."""
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def turn_landmarks(landmarks: Array, quarters: int, width: int, height: int) -> Array:
    """Landmarks (N, 3) found in a picture turned by `turn_image`, in pixels of the picture as it was.

    :param width, height: of the picture before it was turned.
    """
    if not quarters:
        return landmarks
    x, y, z = landmarks.T
    place = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[quarters]
    return np.stack([*place, z], axis=1).astype(np.float32)
