"""What is read of a datagram, whoever sent it."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from remote.rtc_pair import Client, echo, join, make_peer, until

from stream.remote.transport.datagrams import MAX_DATAGRAM, readable


def record(kind: int, length: int) -> bytes:
    return bytes([kind, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9]) + length.to_bytes(2, "big") + bytes(length)


def test_one_message_a_datagram() -> None:
    message, handshake = record(23, 40), record(22, 100)
    assert readable(message) == message
    assert readable(message + message) == message
    assert readable(handshake + handshake + message + handshake) == handshake + handshake + message
    assert readable(message[:30] + message) == (message[:30] + message)[: len(message)]


def test_everything_else_passes_or_is_too_long() -> None:
    srtp = b"\x80\x60" + bytes(1000)
    assert readable(srtp) == srtp
    assert readable(bytes(MAX_DATAGRAM)) == bytes(MAX_DATAGRAM)
    assert readable(bytes(MAX_DATAGRAM + 1)) == readable(b"") == b""


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.binary(max_size=1600) | st.lists(st.integers(18, 34)).map(bytes))
def test_whatever_comes_its_beginning_is_read_or_nothing(data: bytes) -> None:
    assert data.startswith(readable(data))


def test_a_stranger_who_finds_the_port_ends_nothing() -> None:
    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        echoed: list[Any] = []
        channel = client.channel()
        peer.on_text = echo(peer)
        channel.on("message", echoed.append)
        await join(client, peer, receive=False)
        await until(lambda: channel.readyState == "open")
        candidate = peer._rtc.links[0].local_candidates[0]
        family = socket.AF_INET6 if ":" in candidate.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as stranger:
            for data in (b"\x80\x60" + bytes(1600), b"\x80\xc8" + bytes(3), b"\x17", bytes(65_000), b"\x80"):
                stranger.sendto(data, (candidate.host, candidate.port))
        await until(lambda: peer._rtc.links[0].lost >= 2)
        channel.send("still here")
        await until(lambda: echoed == ["still here"])
        assert peer.state == "connected"
        await peer.close()
        await client.close()

    asyncio.run(run())
