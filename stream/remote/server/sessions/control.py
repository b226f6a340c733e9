"""Control messages from a peer: bounded in size and number, checked, answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.errors import ProtocolError
from stream.protocol.clock import wall_micros
from stream.protocol.messages import AnyMessage, Ping, Pong, read_message

RATE = 50
"""Messages that a peer may send in a second; an honest one sends three."""


class ControlInbox:
    """Reads one peer's control messages, of which nothing is trusted, and answers its pings.

    :param tell: sends it a message.
    :param on_flood: more than `RATE` came in a second: the peer should be let go.
    """

    def __init__(self, tell: Callable[[AnyMessage], None], on_flood: Callable[[], None]) -> None:
        self._tell, self._on_flood = tell, on_flood
        self._began, self._count = 0.0, 0
        self._flooded = False

    def count(self) -> bool:
        """Count what came; False where it is too much."""
        now = time.monotonic()
        if now - self._began >= 1.0:
            self._began, self._count = now, 0
        self._count += 1
        if self._count > RATE:
            self._flooded = True
        if self._flooded:
            self._on_flood()
        return not self._flooded

    def read(self, text: str | bytes) -> AnyMessage | None:
        """The message, or None where it is a ping, of no known kind, or came too fast."""
        if not self.count():
            return None
        try:
            message = read_message(text)
        except ProtocolError:
            return None
        if isinstance(message, Ping):
            self._tell(Pong(time=message.time, server=wall_micros(time.monotonic())))
            return None
        return message
