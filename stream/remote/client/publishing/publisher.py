"""Send what is captured here to a server, which passes it on to viewers (docs/remote.md)::

async with RemotePublisher("http://127.0.0.1:8080", session="studio") as publisher:
    publisher.offer(capture)  # with surfaces and expressions, from any thread
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from stream.errors import ProsoponError, RemoteError
from stream.pipeline.slot import Slot
from stream.protocol.fragments import Message
from stream.remote.client.publishing.encode import CaptureEncoder
from stream.remote.client.publishing.link import PublishLink
from stream.remote.client.watching.address import parse_address
from stream.remote.client.watching.http import AccessError, Signalling, WaitError
from stream.remote.client.watching.viewer import BACKOFF
from stream.remote.refusals import ServerFullError
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


class RemotePublisher:
    """Publishes captures as a session, newest first, and comes back by itself when the connection is lost.

    `open` and `close` belong to one event loop. Encoding happens on a thread of its own.

    :param url: ``http(s)://host:port``.
    :param session: the session's name; None lets the server choose.
    :param token: what the server wants to see; else ``#token=`` of the address or ``PROSOPON_TOKEN``.
    :raises ConfigError: the address is none, or the name or token cannot be one.
    :ivar session: the name that viewers use, once open.
    :ivar error: why it has given up, or None.
    """

    def __init__(self, url: str, session: str | None = None, token: str | None = None) -> None:
        self.address = parse_address(url, session, token)
        self.session = self.address.session
        self.error: RemoteError | None = None
        self._signalling: Signalling | None = None
        self._link: PublishLink | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._slot: Slot[Capture] = Slot("latest", self._lost)
        self._encoder = CaptureEncoder()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prosopon-publish")
        self._replaced = 0  # by whoever offers; the rest belongs to the event loop and its executor
        self._sent = self._unsent = self._failed = self._bytes = self._reconnections = 0

    async def open(self) -> None:
        """Connect.

        :raises RemoteError: the server cannot be reached or refuses; the message says what to do.
        """
        self._signalling = Signalling(self.address)
        try:
            self._link = await self._connect(self._signalling)
        except BaseException:
            await self._signalling.close()
            raise
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._pump()), loop.create_task(self._keep(self._signalling))]

    async def close(self) -> None:
        """Say goodbye and free everything; harmless when not open."""
        self._slot.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._link is not None:
            await self._drop(self._link)
        if self._signalling is not None:
            await self._signalling.close()
        self._executor.shutdown(wait=False)

    async def __aenter__(self) -> RemotePublisher:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def offer(self, capture: Capture) -> None:
        """Have a capture sent, from any thread; an older one that still waits is replaced.

        Its people's surfaces become the meshes, their expressions and its frame's picture go along.
        """
        self._slot.put(capture)

    @property
    def figures(self) -> PublisherFigures:
        """How it fares."""
        link = self._link
        return PublisherFigures(
            link is not None and not link.lost.is_set(),
            self._sent,
            self._replaced + self._unsent,
            self._failed,
            self._bytes + (0 if link is None else link.sent_bytes),
            self._reconnections,
        )

    def _lost(self, capture: Capture) -> None:
        self._replaced += 1

    async def _connect(self, signalling: Signalling) -> PublishLink:
        """One attempt.

        :raises RemoteError: see `open`.
        """
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
            link = self._link
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
                link.send(messages)
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

    async def _keep(self, signalling: Signalling) -> None:
        """Come back whenever the connection is lost."""
        try:
            while self._link is not None:
                await self._link.lost.wait()
                log.warning("The connection to %s was lost; trying to come back.", self.address.base)
                await self._drop(self._link)
                self._link = await self._come_back(signalling)
                self._reconnections += 1
        except RemoteError as error:
            self.error = error
            log.warning("Publishing has ended. %s", error)
        except Exception as error:
            log.exception("Publishing has ended by a mistake of ours.")
            self.error = RemoteError(f"Publishing has ended by a mistake of ours ({error}); start again.")

    async def _come_back(self, signalling: Signalling) -> PublishLink:
        """Try until it works.

        :raises RemoteError: the server no longer lets us in.
        """
        attempt = 0
        while True:
            wait = BACKOFF[min(attempt, len(BACKOFF) - 1)]
            try:
                return await self._connect(signalling)
            except AccessError:
                raise
            except (ServerFullError, WaitError) as error:
                wait = max(wait, float(error.retry_after))
            except RemoteError as error:
                log.debug("Not back yet: %s", error)
            attempt += 1
            await asyncio.sleep(wait)

    async def _drop(self, link: PublishLink) -> None:
        self._link = None
        self._bytes += link.sent_bytes
        await link.close()
