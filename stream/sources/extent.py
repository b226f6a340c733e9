"""How much of a file there was, against what the file says of itself."""

from __future__ import annotations

import math

import av
from av.container import InputContainer

INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf"}
"""Formats whose files say how long they are; of others FFmpeg guesses it from what it finds."""

SLACK = (0.15, 0.02)
"""Seconds, and share of the whole, that may be missing: the last frame's length is often not said."""


class Extent:
    """From the first to the last moment of all of a file's packets; kept while they are read.

    :param step: seconds that a packet lasts which does not say it.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._begin, self._end = math.inf, -math.inf

    def take(self, packet: av.Packet) -> None:
        """Count a packet of any stream."""
        if packet.pts is None or packet.time_base is None:
            return
        begin = float(packet.pts * packet.time_base)
        self._begin = min(self._begin, begin)
        lasts = float(packet.duration * packet.time_base) if packet.duration else self._step
        self._end = max(self._end, begin + lasts)

    def short_of(self, container: InputContainer) -> tuple[float, float] | None:
        """Seconds there were, and seconds there should be, where an end is missing."""
        if container.format.name not in INDEXED or not container.duration or self._end < self._begin:
            return None
        there, said = self._end - self._begin, container.duration / av.time_base
        return (there, said) if said - there > max(SLACK[0], SLACK[1] * said) else None
