"""How many meshes a second a server can hand out, found by trying."""

from __future__ import annotations

import math

from stream.pipeline.demand import EVERY

FASTEST, SLOWEST = 1 / 40, 1 / 4
"""Seconds between two meshes: with less, every frame is sent; more is left to the viewers' own levels."""

WINDOW = 0.5
"""Seconds over which deliveries are counted before the pace may change."""

LATE = 0.2
"""Share of them that came late: above, the interval grows by `SLOWER`; with none, it shrinks by `FASTER`."""

SLOWER, FASTER = 1.25, 0.95


class Pace:
    """The rate at which a session's meshes are worked out, where its viewers would take more than the server
    can send: less when the event loop is late, more again little by little. All viewers share it, so that
    one server's trouble is not taken for that of twenty links.
    """

    def __init__(self) -> None:
        self._interval = 0.0
        self._began = -math.inf
        self._deliveries = self._late = 0

    @property
    def rate(self) -> float:
        """Meshes a second; from any thread."""
        interval = self._interval
        return 1 / interval if interval else EVERY

    @property
    def exhausted(self) -> bool:
        """Whether a slower pace would not help."""
        return self._interval >= SLOWEST

    def delivered(self, late: bool, now: float) -> None:
        """The event loop handed a mesh to the viewers, late or in time."""
        self._deliveries += 1
        self._late += late
        if now - self._began < WINDOW:
            return
        if self._late > LATE * self._deliveries:
            self._interval = min(max(self._interval, FASTEST) * SLOWER, SLOWEST)
        elif not self._late:
            self._interval *= FASTER if self._interval > FASTEST else 0.0
        self._began, self._deliveries, self._late = now, 0, 0
