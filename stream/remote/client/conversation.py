"""What is said between a client and a server over one connection, and how its end is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from stream.errors import ProtocolError
from stream.protocol.messages import AnyMessage, Pong, read_message, write_message
from stream.remote.client.clock import ServerClock
from stream.remote.client.silence import Silence
from stream.remote.transport.link import Link

log = logging.getLogger(__name__)


class ServerLink(Link, Protocol):
    """A client's connection.

    :ivar on_text, on_datagram: called with the control messages and the datagrams that come.
    """

    on_text: Callable[[str | bytes], None]
    on_datagram: Callable[[str | bytes], None]

    async def received(self) -> int:
        """Bytes that came so far, meshes, pictures and all the rest."""


class Conversation:
    """The control messages of one connection: what time it is at the server, and whether it still answers.

    :param link: which now tells this object what comes.
    :ivar clock: the server's.
    :ivar lost: set once the connection is over.
    """

    def __init__(self, link: ServerLink) -> None:
        self._link = link
        link.on_text, link.on_closed = self._heard, self._gone
        self._silence = Silence()
        self._pinging: asyncio.Task[None] | None = None
        self.clock = ServerClock()
        self.lost = asyncio.Event()

    def start(self) -> None:
        """Begin to talk: the link is open."""
        self._pinging = asyncio.get_running_loop().create_task(self._ping())

    async def close(self) -> None:
        """Say goodbye and end it; harmless when lost."""
        self.lost.set()
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.gather(self._pinging, return_exceptions=True)
        with contextlib.suppress(Exception):  # it is over in any case
            await self._link.close()

    def _say(self, message: AnyMessage) -> None:
        """Send a control message; once the connection is lost, nothing happens."""
        if not self.lost.is_set():
            self._link.tell(write_message(message))

    def _told(self, message: AnyMessage) -> None:
        """The server said something other than what time it is."""

    def _heard(self, text: str | bytes) -> None:
        self._silence.heard()
        try:
            message = read_message(text)
        except ProtocolError as error:
            log.debug("A control message was passed over: %s", error)
            return
        if isinstance(message, Pong):
            self.clock.pong(message)
        else:
            self._told(message)

    def _gone(self) -> None:
        self.lost.set()

    async def _ping(self) -> None:
        """Keep asking the time, and notice when nobody answers any more."""
        while not self.lost.is_set():
            self._say(self.clock.ping())
            await asyncio.sleep(self.clock.pause)
            if self._silence.waited(self.clock.pause):
                self._gone()
