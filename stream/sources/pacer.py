"""Gives media its real-time pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE = 0.1
"""Seconds without a frame after which a late one is shown all the same, and the pace starts anew from it:
what decodes slower than real time is played slower rather than not at all."""


class Pacer:
    """Maps a medium's own time to `time.monotonic`'s, and waits for it unless told not to.

    :param paced: False: never wait, and nothing is ever late.
    """

    def __init__(self, paced: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._paced = paced
        self._clock = clock
        self._interrupted = threading.Event()
        self._origin: float | None = None
        self._given = 0.0

    def late(self, seconds: float, interval: float) -> bool:
        """Whether the frame due at the media time ``seconds`` has been overtaken by the next one already.

        :param interval: seconds until the next frame.
        """
        if self._origin is None or not self._paced:
            return False
        now = self._clock()
        if now <= self._origin + seconds + interval:
            return False
        if now - self._given < PATIENCE:
            return True
        self._origin = now - seconds
        return False

    def wait(self, seconds: float) -> float | None:
        """Wait until the media time ``seconds``; the first call starts the pace.

        :returns: when that is on the clock, or None if interrupted.
        """
        if self._origin is None:
            self._origin = self._clock() - seconds
        due = self._origin + seconds
        if self._paced:
            while not self._interrupted.is_set() and (left := due - self._clock()) > 0:
                self._interrupted.wait(left)
            self._given = self._clock()
        return None if self._interrupted.is_set() else due

    def interrupt(self) -> None:
        """From any thread: end the waiting, now and from now on."""
        self._interrupted.set()
