"""Control messages from a peer: bounded in size and number, checked, answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.errors import ProtocolError
from stream.protocol.clock import wall_micros
from stream.protocol.messages import AnyMessage, Clock, Ping, Pong, read_message, write_message

RATE = 50
"""Messages that a peer may send in a second; an honest one sends three."""


class ControlInbox:
    """Reads one peer's control messages.

    :ivar flooded: more than `RATE` came in a second: the peer should be let go.
    """

    def __init__(self) -> None:
        self.flooded = False
        self._began, self._count = 0.0, 0

    def count(self, now: float) -> bool:
        """Count what came; False where it is too much."""
        if now - self._began >= 1.0:
            self._began, self._count = now, 0
        self._count += 1
        self.flooded |= self._count > RATE
        return not self.flooded

    def read(self, text: str | bytes, now: float) -> AnyMessage | None:
        """The message, or None where it is of no known kind or came too fast."""
        if not self.count(now):
            return None
        try:
            return read_message(text)
        except ProtocolError:
            return None


def answer(ping: Ping) -> Pong:
    """The pong of a ping that has just come."""
    return Pong(time=ping.time, server=wall_micros(time.monotonic()))


class PublisherControl:
    """What is said to a session's publisher, and what it says.

    :param tell: sends a control message (`stream.remote.transport.link.Link.tell`).
    :param on_clock: it told the clock of its video track.
    :param on_flood: it sends too much.
    """

    def __init__(
        self, tell: Callable[[str], bool], on_clock: Callable[[Clock], None], on_flood: Callable[[], None]
    ) -> None:
        self._tell, self._on_clock, self._on_flood = tell, on_clock, on_flood
        self._inbox = ControlInbox()

    def tell(self, message: AnyMessage) -> None:
        """Send a message, where there is a way for it that is not blocked."""
        self._tell(write_message(message))

    def heard(self, text: str | bytes) -> None:
        """Take a control message; nothing in it is trusted."""
        message = self._inbox.read(text, time.monotonic())
        if self._inbox.flooded:
            self._on_flood()
        elif isinstance(message, Ping):
            self.tell(answer(message))
        elif isinstance(message, Clock):
            self._on_clock(message)
