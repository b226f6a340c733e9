"""What a session and a client need of a connection between them, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from stream.protocol.fragments import Message

MOST_TEXT = 65_536
"""Bytes of control messages that may wait to be sent: another side that takes none gets no more."""


class Link(Protocol):
    """A connection that carries messages. Everything on the event loop.

    Another transport is one that implements this; WebRTC's (`stream.remote.transport.rtc_link`) carries video
    besides, and over a WebSocket (`stream.remote.transport.websocket`) pictures are messages.

    :ivar transport: what carries it, ``webrtc`` or ``websocket``.
    :ivar on_closed: called when the connection has ended or takes nothing any more.
    """

    transport: str
    on_closed: Callable[[], None]

    def tell(self, text: str) -> bool:
        """Send a control message soon, or nothing where there is no way for them.

        :returns: False where too many wait: the other side takes none.
        """

    async def ready(self) -> None:
        """Wait until little of what was sent before is still waiting.

        :raises RemoteError: the connection is over.
        """

    async def send(self, message: Message) -> None:
        """Send a whole message; it is not stopped half-way.

        :raises RemoteError: the connection is over.
        """

    async def close(self) -> None:
        """End the connection; harmless when it has ended."""


def nothing(*_: object) -> None:
    """A callback that nobody set."""
