"""Send what is captured here to a server, which passes it on to viewers (docs/remote.md)::

async with RemotePublisher("http://127.0.0.1:8080", session="studio") as publisher:
    publisher.offer(capture)  # with surfaces and expressions, from any thread
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stream.errors import ProsoponError, RemoteError
from stream.pipeline.slot import Slot
from stream.protocol.fragments import Message
from stream.remote.client.address import parse_address
from stream.remote.client.publishing.encode import CaptureEncoder
from stream.remote.client.publishing.link import PublishLink
from stream.remote.client.reconnect import Reconnecting
from stream.remote.client.signalling import Signalling
from stream.types import Capture

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublisherFigures:
    """How a publisher fares, all counts since it was opened.

    :ivar connected: there is a connection now.
    :ivar sent: captures sent.
    :ivar dropped: captures left out: replaced by newer ones, or there was no connection or no room.
    :ivar failed: captures that could not be encoded.
    :ivar mesh_bytes: of all mesh and expression messages.
    :ivar reconnections: how often the connection was lost and came back.
    """

    connected: bool
    sent: int
    dropped: int
    failed: int
    mesh_bytes: int
    reconnections: int


class RemotePublisher(Reconnecting[PublishLink]):
    """Publishes captures as a session, newest first, and comes back by itself when the connection is lost.

    Encoding happens on a thread of its own.

    :param url: ``http(s)://host:port``.
    :param session: the session's name; None lets the server choose.
    :param token: what the server wants to see; else ``#token=`` of the address or ``PROSOPON_TOKEN``.
    :raises ConfigError: the address is none, or the name or token cannot be one.
    :ivar session: the name that viewers use, once open.
    :ivar error: why it has given up, or None.
    """

    def __init__(self, url: str, session: str | None = None, token: str | None = None) -> None:
        super().__init__(parse_address(url, session, token), "Publishing")
        self.session = self.address.session
        self.error: RemoteError | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._slot: Slot[Capture] = Slot("latest", self._overtaken)
        self._encoder = CaptureEncoder()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prosopon-publish")
        self._replaced = 0  # by whoever offers; the rest belongs to the event loop and its executor
        self._sent = self._unsent = self._failed = self._bytes = 0

    async def open(self) -> None:
        """Connect; see `Reconnecting.open`."""
        await super().open()
        self._pumping = asyncio.get_running_loop().create_task(self._pump())

    async def close(self) -> None:
        """Say goodbye and free everything; harmless when not open."""
        self._slot.close()
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)
        await super().close()
        self._executor.shutdown(wait=False)

    def offer(self, capture: Capture) -> None:
        """Have a capture sent, from any thread; an older one that still waits is replaced.

        Its people's surfaces become the meshes, their expressions and its frame's picture go along.
        """
        self._slot.put(capture)

    @property
    def figures(self) -> PublisherFigures:
        """How it fares."""
        link = self._connection
        return PublisherFigures(
            self.connected,
            self._sent,
            self._replaced + self._unsent,
            self._failed,
            self._bytes + (0 if link is None else link.sent_bytes),
            self._reconnections,
        )

    def _overtaken(self, capture: Capture) -> None:
        self._replaced += 1

    async def _connect(self, signalling: Signalling) -> PublishLink:
        link = PublishLink(signalling, await signalling.ice_servers())
        try:
            await link.open(self.session)
        except BaseException:
            await link.close()
            raise
        self.session = link.session or self.session
        self._encoder.request_key()
        return link

    async def _pump(self) -> None:
        """Encode and send the newest capture, for ever."""
        loop = asyncio.get_running_loop()
        while isinstance(capture := await loop.run_in_executor(self._executor, self._slot.get), Capture):
            link = self._connection
            captured = None if link is None else link.clock.server(capture.frame.captured)
            if link is None or link.lost.is_set() or captured is None:
                self._unsent += 1
                continue
            link.show(capture.frame.image, captured)
            if not link.room():
                self._unsent += 1
                continue
            if link.key_wanted:
                link.key_wanted = False
                self._encoder.request_key()
            messages = await loop.run_in_executor(self._executor, self._encode, capture, captured)
            if messages is not None:
                await link.send(messages)
                self._sent += 1

    def _encode(self, capture: Capture, captured: int) -> list[Message] | None:
        """On the executor's thread; None where it cannot be sent."""
        try:
            return self._encoder.encode(capture, captured)
        except Exception as error:  # a program's own capture must not end the publishing unseen
            level = logging.DEBUG if isinstance(error, ProsoponError) or self._failed else logging.ERROR
            log.log(level, "A capture was not published: %s", error, exc_info=level == logging.ERROR)
            self._failed += 1
            return None

    def _lost(self, connection: PublishLink) -> bool:
        log.warning("The connection to %s was lost; trying to come back.", self.address.base)
        return False

    def _left(self, connection: PublishLink) -> None:
        self._bytes += connection.sent_bytes

    def _finish(self, error: RemoteError | None) -> None:
        self.error = error
        log.warning("Publishing has ended. %s", error)
