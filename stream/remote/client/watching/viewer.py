"""Watch a remote session from a program (docs/remote.md)::

async with RemoteViewer("http://127.0.0.1:8080") as viewer:
    async for frame in viewer:
        frame.surface.depth  # (S, S) crop units, NaN where there is no surface
        frame.picture        # the picture it was made of
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Literal

from stream.errors import RemoteError
from stream.protocol.expression_codec import ExpressionFrame
from stream.protocol.messages import Hello, State, Subscribe
from stream.remote.client.address import parse_address
from stream.remote.client.reconnect import Reconnecting
from stream.remote.client.signalling import Signalling
from stream.remote.client.watching.connection import WatchConnection
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.links import open_socket, open_webrtc
from stream.remote.client.webrtc import IceError
from stream.remote.refusals import UnknownSessionError

__all__ = ["RemoteFrame", "RemoteViewer", "Transport", "ViewerFigures"]

log = logging.getLogger(__name__)

Transport = Literal["auto", "webrtc", "websocket"]

PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class ViewerFigures:
    """How a viewer fares, all counts since it was opened.

    :ivar connected: there is a connection now.
    :ivar transport: ``webrtc`` or ``websocket``, the newest connection's, or None before the first.
    :ivar frames: meshes that were ready for the program.
    :ivar skipped: meshes that newer ones overtook before the program took them.
    :ivar lost: messages that came incompletely or could not be decoded.
    :ivar pictures: of the video track or texture messages.
    :ivar kbps: kilobits a second received lately.
    :ivar round_trip_ms: of the newest ping, or None.
    :ivar reconnections: how often the connection was lost and came back.
    """

    connected: bool
    transport: str | None
    frames: int
    skipped: int
    lost: int
    pictures: int
    kbps: float
    round_trip_ms: float | None
    reconnections: int


class RemoteViewer(Reconnecting[WatchConnection]):
    """Receives a session's meshes, newest first, and comes back by itself when the connection is lost.

    All methods belong to the event loop that `open` ran on.

    :param url: ``http(s)://host:port`` (the only session there), ``.../#session=NAME`` or ``.../whep/NAME``.
    :param token: what the server wants to see; else ``#token=`` of the address or ``PROSOPON_TOKEN``.
    :param session: wins over the address's.
    :param transport: ``webrtc``, ``websocket``, or ``auto``: the latter where the former fails.
    :param pictures: receive the video, too; without it frames have no picture.
    :param expressions: receive expression messages, too.
    :param patience: seconds without a connection after which it gives up.
    :raises ConfigError: the address is none.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        session: str | None = None,
        transport: Transport = "auto",
        pictures: bool = True,
        expressions: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(parse_address(url, session, token), "Watching", patience)
        self._transport = transport
        self._pictures, self._expressions = pictures, expressions
        self._waiting: dict[int, RemoteFrame] = {}
        self._fresh = asyncio.Event()
        self._over = False
        self._error: RemoteError | None = None
        self._name: str | None = None
        self._webrtc_works: bool | None = None
        self._past = ViewerFigures(False, None, 0, 0, 0, 0, 0.0, None, 0)
        self._replaced = 0

    async def close(self) -> None:
        """Say goodbye and free everything; harmless when not open."""
        self._finish(None)
        await super().close()

    async def __aiter__(self) -> AsyncIterator[RemoteFrame]:
        while (frame := await self.next_frame()) is not None:
            yield frame

    async def next_frame(self) -> RemoteFrame | None:
        """Wait for a newer frame than those given before; None once the session is over.

        Each face (lane) has its own newest frame; the one that has waited longest comes first.

        :raises RemoteError: the connection was lost and did not come back in time.
        """
        while not self._waiting:
            if self._over:
                if self._error is not None:
                    raise self._error
                return None
            self._fresh.clear()
            await self._fresh.wait()
        return self._waiting.pop(min(self._waiting, key=lambda lane: self._waiting[lane].arrived))

    @property
    def hello(self) -> Hello | None:
        """What the server said first, on the newest connection."""
        return None if self._connection is None else self._connection.hello

    @property
    def state(self) -> State | None:
        """What the server said last about the session."""
        return None if self._connection is None else self._connection.state

    @property
    def expressions(self) -> dict[int, ExpressionFrame]:
        """The newest expression of each lane."""
        return {} if self._connection is None else dict(self._connection.expressions)

    @property
    def figures(self) -> ViewerFigures:
        """How it fares."""
        past, now = self._past, self._connection
        if now is None:
            return replace(past, reconnections=self._reconnections)
        trip = now.clock.round_trip
        return ViewerFigures(
            self.connected,
            now.transport,
            past.frames + now.shown,
            past.skipped + now.skipped + self._replaced,
            past.lost + now.lost_messages,
            past.pictures + now.pictures,
            now.kbps,
            None if trip is None else trip * 1e3,
            self._reconnections,
        )

    async def traffic(self) -> tuple[int, int]:
        """Bytes that came on this connection: of mesh messages, and of everything."""
        return (0, 0) if self._connection is None else await self._connection.traffic()

    def _put(self, frame: RemoteFrame) -> None:
        """Keep a frame until the program takes it, or a newer one of its lane comes."""
        self._replaced += frame.lane in self._waiting
        self._waiting[frame.lane] = frame
        self._fresh.set()

    async def _connect(self, signalling: Signalling) -> WatchConnection:
        """One attempt: choose the session, try the transports."""
        try:
            session = self._name or await signalling.choose_session()
            connection = await self._connect_to(session, signalling)
        except UnknownSessionError:
            if self.address.session is None:
                self._name = None  # it may be back under another name
            raise
        self._name = session
        return connection

    async def _connect_to(self, session: str, signalling: Signalling) -> WatchConnection:
        if self._transport != "websocket" and self._webrtc_works is not False:
            wants = Subscribe(expression=self._expressions)
            try:
                connection = await open_webrtc(signalling, session, wants, self._put, self._pictures)
                self._webrtc_works = True
                return connection
            except IceError as error:
                if self._transport == "webrtc":
                    raise
                # Where it worked before, a failure says more about the server's state than about the network.
                self._webrtc_works = self._webrtc_works or False
                log.warning("%s Going on with a WebSocket.", error)
        wants = Subscribe(expression=self._expressions, texture=self._pictures)
        return await open_socket(signalling, session, wants, self._put)

    def _lost(self, connection: WatchConnection) -> bool:
        return connection.state is not None and connection.state.state == "ended"

    def _left(self, connection: WatchConnection) -> None:
        self._past = replace(self.figures, connected=False, kbps=0.0, round_trip_ms=None)
        self._replaced = 0

    def _finish(self, error: RemoteError | None) -> None:
        """No frame will follow."""
        self._over, self._error = True, self._error or error
        self._fresh.set()
