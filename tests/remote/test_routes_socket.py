"""Watching by WebSocket: tokens, limits, and why a socket closes."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import aiohttp
import pytest
from remote.fake_hub import OFFER, serving

from stream.errors import ProtocolError
from stream.protocol.messages import MAX_BYTES
from stream.remote.refusals import ServerFullError, UnknownSessionError
from stream.remote.server.http import guard


def token_protocol(token: str) -> str:
    return "prosopon.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


async def status(client: aiohttp.ClientSession, path: str = "/ws/ada", **options: Any) -> int:
    """The status of a refused handshake; 101 where it was taken."""
    try:
        socket = await client.ws_connect(path, **options)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await socket.close()
    return 101


def test_a_socket_is_handed_to_its_session() -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            async with client.ws_connect("/ws/ada", protocols=("prosopon.v1",)) as socket:
                assert socket.protocol == "prosopon.v1"
                await socket.send_str("hello")
                assert await socket.receive_str(timeout=10) == "ada hello"
            assert await status(client) == 101, "a program needs no subprotocol"

    asyncio.run(run())


def test_the_token_comes_as_subprotocol_or_header() -> None:
    async def run() -> None:
        async with serving(publish_token="camera", view_token="ey/es?") as (_, hub, client):
            await hub.publish(OFFER, "ada")
            right, wrong = ("prosopon.v1", token_protocol("ey/es?")), ("prosopon.v1", token_protocol("no"))
            async with client.ws_connect("/ws/ada", protocols=right) as socket:
                assert socket.protocol == "prosopon.v1"
            assert await status(client, headers={"Authorization": "Bearer ey/es?"}) == 101
            assert await status(client, protocols=wrong) == 401
            assert await status(client, protocols=("prosopon.v1",)) == 401
            assert await status(client, protocols=(token_protocol("ey/es?"),)) == 400

    asyncio.run(run())


def test_refusals_before_the_handshake() -> None:
    async def run() -> None:
        async with serving() as (server, hub, client):
            await hub.publish(OFFER, "ada")
            assert await status(client, "/ws/nobody") == 404
            assert await status(client, protocols=("other",)) == 400
            assert await status(client, headers={"Origin": "http://evil.example"}) == 403
            assert await status(client, headers={"Origin": server.url}) == 101
            async with client.get("/ws/ada") as answer:
                assert answer.status == 426

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownSessionError("It is over."), 4404),
        (ServerFullError("Full. " + "ä" * 200), 1013),
        (ProtocolError("Not so."), 1008),
        (RuntimeError("secret"), 1011),
    ],
)
def test_the_close_code_says_why(error: Exception, code: int) -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            hub.refusal = error
            async with client.ws_connect("/ws/ada") as socket:
                closed = await socket.receive(timeout=10)
                assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, code)
                assert "secret" not in (closed.extra or "")

    asyncio.run(run())


def test_a_server_that_stops_does_not_say_that_the_session_is_over() -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            hub.refusal, hub.ready = UnknownSessionError("It is over."), False
            async with client.ws_connect("/ws/ada") as socket:
                closed = await socket.receive(timeout=10)
                assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1001)

    asyncio.run(run())


def test_a_message_that_is_too_long_ends_the_socket() -> None:
    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            async with client.ws_connect("/ws/ada") as socket:
                await socket.send_str("a" * MAX_BYTES)
                assert len(await socket.receive_str(timeout=10)) == MAX_BYTES + 4
                await socket.send_str("a" * (MAX_BYTES + 1))
                assert (await socket.receive(timeout=10)).data == 1009

    asyncio.run(run())


def test_one_address_has_a_bounded_number_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SOCKETS", 2)

    async def run() -> None:
        async with serving() as (_, hub, client):
            await hub.publish(OFFER, "ada")
            held = [await client.ws_connect("/ws/ada") for _ in range(2)]
            assert await status(client) == 429
            await held[0].close()
            await hub_done(client)
            assert await status(client) == 101

    async def hub_done(client: aiohttp.ClientSession) -> None:
        """The server has handled what came before on its loop, which is this one."""
        async with client.get("/healthz"):
            pass

    asyncio.run(run())
