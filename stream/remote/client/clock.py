"""The difference between this program's clock and a server's, by pings (docs/protocol.md)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from stream.protocol.messages import Ping, Pong

PINGS = 15
"""Answers kept."""

LEAST = 3
"""Answers that a publisher waits for, whose capture times are told by this clock."""

FIRST_PINGS, FIRST_SECONDS = 5, 0.05
"""At the beginning pings go out quickly, so that times are known soon."""

PING_SECONDS = 0.5
"""Seconds between later pings, which are signs of life, too."""

MAX_ROUND_TRIP = 10_000.0
"""Milliseconds after which a pong says nothing any more."""


class ServerClock:
    """Knows what time it is at the server.

    The server stamps its answer after the ping was sent and before the answer came, so each ping bounds the
    difference of the clocks from both sides. The middle of what lies within the bounds of all is the
    estimate (Marzullo 1984): an answer that was held up on one of its ways bounds loosely there, no more.

    :param clock: seconds, monotonic; for tests.
    :ivar round_trip: the newest ping's, seconds, or None before the first pong.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bounds: deque[tuple[float, float]] = deque(maxlen=PINGS)
        self._sent = 0
        self._difference: float | None = None
        self.round_trip: float | None = None

    def ping(self) -> Ping:
        """The next ping to send."""
        self._sent += 1
        return Ping(time=self._clock() * 1e3)

    @property
    def pause(self) -> float:
        """Seconds until the ping after."""
        return FIRST_SECONDS if self._sent < FIRST_PINGS else PING_SECONDS

    def pong(self, pong: Pong) -> None:
        """Take an answer; one that cannot be to a ping of ours is passed over."""
        now = self._clock() * 1e3
        if 0 <= now - pong.time <= MAX_ROUND_TRIP:
            self.round_trip = (now - pong.time) / 1e3
            self._bounds.append((pong.server / 1e3 - now, pong.server / 1e3 - pong.time))
            least, most = zip(*self._bounds, strict=True)
            self._difference = (max(least) + min(most)) / 2

    @property
    def known(self) -> bool:
        """Whether enough pongs came to trust the times: the first one may have been held up."""
        return len(self._bounds) >= LEAST

    def local(self, captured: int) -> float | None:
        """A time of the server's, microseconds, as seconds of our clock; None while nothing is known."""
        return None if self._difference is None else (captured / 1e3 - self._difference) / 1e3

    def server(self, seconds: float) -> int | None:
        """A time of our clock as the server's microseconds; None while nothing is known."""
        return None if self._difference is None else round((seconds * 1e3 + self._difference) * 1e3)
