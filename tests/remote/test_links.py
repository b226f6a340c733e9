"""The ways to a viewer: nothing is given to them that would grow old there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from stream.errors import RemoteError
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.remote.server.sessions.control import MOST_TEXT
from stream.remote.server.sessions.links import LOW, UNSENT, ChannelLink, SocketLink
from stream.remote.server.sessions.mailbox import Packet


class FakeChannel:
    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.bufferedAmountLowThreshold = 0
        self.sent: list[Any] = []
        self.handlers: dict[str, Callable[[], None]] = {}

    def on(self, event: str, handler: Callable[[], None]) -> None:
        self.handlers[event] = handler

    def send(self, data: Any) -> None:
        self.sent.append(data)
        self.bufferedAmount += len(data)

    def drain(self) -> None:
        self.bufferedAmount = 0
        self.handlers["bufferedamountlow"]()


def packet(size: int) -> Packet:
    return Packet(Message(Kind.MESH, 0, 1, bytes(range(256)) * (size // 256)))


def test_a_message_waits_until_the_channel_has_little_left() -> None:
    async def play() -> None:
        link, channel = ChannelLink(), FakeChannel()
        waiting = asyncio.create_task(link.ready())
        await asyncio.sleep(0)
        assert not waiting.done()  # there is no channel yet
        link.take_mesh(channel)
        await asyncio.wait_for(waiting, 5)
        assert channel.bufferedAmountLowThreshold == LOW
        await link.send(packet(20_480))
        reassembler = Reassembler()
        (message,) = [done for datagram in channel.sent if (done := reassembler.accept(datagram))]
        assert message == packet(20_480).message
        waiting = asyncio.create_task(link.ready())
        await asyncio.sleep(0)
        assert not waiting.done()
        channel.drain()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(play())


def test_a_channel_that_closes_says_so_to_who_waits() -> None:
    async def play() -> None:
        link, channel = ChannelLink(), FakeChannel()
        link.take_mesh(channel)
        await link.send(packet(4096))
        waiting = asyncio.create_task(link.ready())
        await asyncio.sleep(0)
        channel.readyState = "closed"
        channel.handlers["close"]()
        with pytest.raises(RemoteError, match="closed"):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(RemoteError, match="closed"):
            await link.send(packet(256))

    asyncio.run(play())


def test_control_messages_go_their_own_way_or_none() -> None:
    async def play() -> None:
        link, channel = ChannelLink(), FakeChannel()
        await link.tell("nobody hears this")
        link.control = channel
        await link.tell("hello")
        assert channel.sent == ["hello"]
        channel.bufferedAmount = MOST_TEXT + 1
        with pytest.raises(RemoteError, match="control messages"):
            await link.tell("too much")

    asyncio.run(play())


async def send_for_ever(link: SocketLink) -> None:
    while True:
        await link.ready()
        await link.send(packet(51_200))
        await asyncio.sleep(0)


async def with_socket(
    serve: Callable[[SocketLink], Awaitable[None]],
    watch: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]],
) -> None:
    """A WebSocket on the loopback with both ends."""
    done = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        try:
            await serve(SocketLink(websocket))
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        return websocket

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{host}:{port}/") as websocket:
        await watch(websocket)
        await asyncio.wait_for(done, 10)
    await runner.cleanup()


def test_a_websocket_carries_whole_messages_and_texts() -> None:
    async def serve(link: SocketLink) -> None:
        await link.tell("hello")
        await link.ready()
        await link.send(packet(51_200))

    async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
        assert await websocket.receive_str(timeout=10) == "hello"
        message = Reassembler(whole=True).accept(await websocket.receive_bytes(timeout=10))
        assert message == packet(51_200).message

    asyncio.run(with_socket(serve, watch))


def test_a_websocket_that_is_not_read_soon_takes_nothing_more() -> None:
    """What waits beyond the receiver's own buffers stays small, so that the next message is a fresh one."""

    async def run() -> None:
        blocked, sent = asyncio.Event(), 0

        async def serve(link: SocketLink) -> None:
            nonlocal sent
            try:
                while True:
                    await asyncio.wait_for(link.ready(), 0.5)
                    await link.send(packet(51_200))
                    sent += 1
            except TimeoutError:
                assert link._protocol.transport is not None
                waiting = link._protocol.transport.get_write_buffer_size()
                assert UNSENT // 4 < waiting < UNSENT + 51_200 + 100
                blocked.set()

        async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
            assert websocket._conn is not None
            websocket._conn.transport.pause_reading()
            await asyncio.wait_for(blocked.wait(), 20)
            websocket._conn.transport.abort()

        await with_socket(serve, watch)
        assert sent > 1

    asyncio.run(run())


def test_a_websocket_that_is_gone_says_so() -> None:
    async def serve(link: SocketLink) -> None:
        with pytest.raises(RemoteError, match="closed"):
            await send_for_ever(link)

    async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
        websocket._conn.transport.abort()

    asyncio.run(with_socket(serve, watch))
