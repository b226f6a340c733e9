"""A WebSocket as a link: nothing is given to it that would grow old there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from stream.errors import RemoteError
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.remote.transport import websocket as websocket_module
from stream.remote.transport.websocket import UNSENT, WAITING_TEXTS, SocketLink


def message(size: int) -> Message:
    return Message(Kind.MESH, 0, 1, bytes(range(256)) * (size // 256))


async def send_for_ever(link: SocketLink) -> None:
    while True:
        await link.ready()
        await link.send(message(51_200))
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
        assert link.tell("hello")
        await link.flush()
        await link.ready()
        await link.send(message(51_200))

    async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
        assert await websocket.receive_str(timeout=10) == "hello"
        came = Reassembler(whole=True).accept(await websocket.receive_bytes(timeout=10))
        assert came == message(51_200)

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
                    await link.send(message(51_200))
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


def test_texts_that_nobody_takes_are_bounded_and_end_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(SocketLink, "ready", lambda self: asyncio.sleep(60))

    async def serve(link: SocketLink) -> None:
        over = asyncio.Event()
        link.on_closed = over.set
        assert all(link.tell("x") for _ in range(WAITING_TEXTS))
        assert not link.tell("x")
        await asyncio.wait_for(over.wait(), 10)

    async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
        assert [message.data async for message in websocket] == []

    asyncio.run(with_socket(serve, watch))


def test_the_last_words_are_sent_before_the_end() -> None:
    async def serve(link: SocketLink) -> None:
        assert link.tell("goodbye")
        await link.close()

    async def watch(websocket: aiohttp.ClientWebSocketResponse) -> None:
        assert [message.data async for message in websocket] == ["goodbye"]

    asyncio.run(with_socket(serve, watch))
