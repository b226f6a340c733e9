"""A session hub without cameras or models, and a server around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from stream.pipeline.metrics import Metrics
from stream.remote.refusals import SupersededError, UnknownSessionError
from stream.remote.server.http.server import RemoteServer
from stream.remote.settings import ServeSettings
from stream.remote.transport.sdp import Fragment

KEY = "0123456789abcdef0123456789abcdef"
VIEWER = "fedcba9876543210"
OFFER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
ANSWER = "v=0\r\nthe answer\r\n"
FRAGMENT = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"


@dataclass
class FakePeer:
    etag: str = "first"
    trickled: list[str] = field(default_factory=list)
    ended: bool = False

    def end(self) -> None:
        self.ended = True

    def restarts(self, fragment: Fragment) -> bool:
        if fragment.ufrag == "past":
            raise SupersededError("ICE was restarted meanwhile.")
        return fragment.ufrag not in ("", "abcd")

    async def trickle(self, fragment: Fragment) -> None:
        self.trickled.append(fragment.ufrag)

    async def restart(self, fragment: Fragment) -> str:
        self.etag = "second"
        return "a=ice-ufrag:efgh\r\n"


@dataclass
class Accepted:
    session: str
    key: str
    peer: FakePeer
    answer: str = ANSWER


class FakeHub:
    """Does what `SessionHub` promises, as far as HTTP sees it.

    :ivar refusal: what the next offers and sockets raise.
    :ivar opening: `open` waits for it.
    """

    def __init__(self) -> None:
        self.ready = False
        self.refusal: Exception | None = None
        self.opening = asyncio.Event()
        self.opening.set()
        self.offers: list[tuple[str, str | None]] = []
        self.ended: list[str] = []
        self.sessions: dict[str, FakePeer] = {}
        self.viewers: dict[tuple[str, str], FakePeer] = {}
        self.closed = 0

    async def open(self) -> None:
        await self.opening.wait()
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        self.closed += 1

    async def publish(self, offer: str, name: str | None) -> Accepted:
        self._refuse()
        self.offers.append((offer, name))
        name = name or "0123456789abcdef"
        self.sessions[name] = FakePeer()
        return Accepted(name, KEY, self.sessions[name])

    async def watch(self, session: str, offer: str) -> Accepted:
        self._refuse()
        self.check(session)
        self.offers.append((offer, session))
        self.viewers[session, VIEWER] = FakePeer()
        return Accepted(session, VIEWER, self.viewers[session, VIEWER])

    async def watch_socket(self, session: str, socket: web.WebSocketResponse) -> None:
        self._refuse()
        async for message in socket:
            await socket.send_str(f"{session} {message.data}")

    def check(self, session: str) -> None:
        if session not in self.sessions:
            raise UnknownSessionError("There is no such session.")

    def publisher(self, session: str, key: str) -> FakePeer:
        self.check(session)
        if key != KEY:
            raise UnknownSessionError("It is another publisher's.")
        return self.sessions[session]

    def viewer(self, session: str, viewer: str) -> FakePeer:
        if (session, viewer) not in self.viewers:
            raise UnknownSessionError("There is no such viewer.")
        return self.viewers[session, viewer]

    def end(self, session: str, key: str) -> None:
        self.publisher(session, key)
        self.ended.append(session)

    def listing(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "state": "live", "faces": 1, "viewers": 2, "fps": 30.0, "seconds": 1.5}
            for name in self.sessions
        ]

    def metrics(self) -> dict[str, Metrics]:
        metrics = Metrics()
        metrics.done("face", 0.0015)
        metrics.drop("send", 3)
        return dict.fromkeys(self.sessions, metrics)

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[RemoteServer, FakeHub, aiohttp.ClientSession]]:
    """A started server on a free port, its hub, and a client whose paths are relative to it."""
    hub = FakeHub()
    server = RemoteServer(ServeSettings(port=0, **settings), hub)  # type: ignore[arg-type]
    await server.start()
    try:
        connector = aiohttp.TCPConnector(ssl=False)
        async with aiohttp.ClientSession(server.url, connector=connector) as client:
            yield server, hub, client
    finally:
        await server.stop()
