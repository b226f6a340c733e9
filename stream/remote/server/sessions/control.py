"""Control messages from a peer: bounded in size and number, checked, answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stream.errors import ProtocolError
from stream.protocol.clock import wall_micros
from stream.protocol.messages import AnyMessage, Clock, Ping, Pong, read_message, write_message

if TYPE_CHECKING:
    from aiortc import RTCDataChannel

MOST_TEXT = 65_536
"""Bytes of control messages that may wait in a data channel: a peer that takes none gets no more."""

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
    """The control channel of a session's publisher, who may open one.

    :param on_clock: it told the clock of its video track.
    :param on_flood: it sends too much.
    """

    def __init__(self, on_clock: Callable[[Clock], None], on_flood: Callable[[], None]) -> None:
        self._on_clock, self._on_flood = on_clock, on_flood
        self._inbox = ControlInbox()
        self._channel: RTCDataChannel | None = None

    @property
    def taken(self) -> bool:
        """Whether there is one."""
        return self._channel is not None

    def take(self, channel: RTCDataChannel) -> None:
        """Hear and speak on this one."""
        self._channel = channel
        channel.on("message", self._heard)

    def tell(self, message: AnyMessage) -> None:
        """Send a message, where there is a way for it that is not blocked."""
        channel = self._channel
        if channel is not None and channel.readyState == "open" and channel.bufferedAmount < MOST_TEXT:
            channel.send(write_message(message))

    def _heard(self, text: str | bytes) -> None:
        message = self._inbox.read(text, time.monotonic())
        if self._inbox.flooded:
            self._on_flood()
        elif isinstance(message, Ping):
            self.tell(answer(message))
        elif isinstance(message, Clock):
            self._on_clock(message)
