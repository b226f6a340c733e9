"""Capture times on the wire: microseconds since 1970, by a clock that never jumps while the program runs."""

from __future__ import annotations

import time

_OFFSET = time.time() - time.monotonic()

MEDIA_RATE = 90_000
"""Ticks per second of a video track's RTP timestamps."""


def wall_micros(monotonic: float) -> int:
    """A time of `time.monotonic` as microseconds since 1970."""
    return round((monotonic + _OFFSET) * 1e6)


def monotonic_of(micros: int) -> float:
    """The inverse of `wall_micros`, seconds."""
    return micros / 1e6 - _OFFSET


def media_time(micros: int) -> int:
    """The capture time in ticks of `MEDIA_RATE`, modulo 2^32: what finds a mesh's picture in the video track.

    A picture's RTP timestamp is this plus an offset that the sender tells (`messages.Clock`).
    """
    return micros * 9 // 100 & 0xFFFFFFFF
