"""How often to look for a face where there has been none for a while."""

from __future__ import annotations

import math

PATIENCE = 1.0
"""Seconds without a face during which every frame is still searched: who looks away comes back."""

PAUSE = 0.2
"""Seconds between two searches after that. Somebody who sits down is found as soon as they look up, and an
empty chair costs a sixth of the CPU that it would at every frame of a camera."""


class SearchPace:
    """Says which frames to search, by their capture times; all, while there is a face."""

    def __init__(self) -> None:
        self._seen = self._searched = math.nan

    def due(self, time: float) -> bool:
        """Whether to search the frame taken at ``time``, seconds; a clock that goes back starts afresh."""
        if not time >= self._searched:
            self._seen = time
        waiting = time - self._seen > PATIENCE and time - self._searched < PAUSE
        if not waiting:
            self._searched = time
        return not waiting

    def found(self, time: float) -> None:
        """There was a face in the frame taken at ``time``."""
        self._seen = time
