"""Hostile WHIP and WHEP bodies: offers, as far as a whole peer answers them, and ICE fragments."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from fuzz.hostile import INPUTS, INTEGERS, corpus, fuzz, mutations, survives
from hypothesis import strategies as st

from stream.errors import ProtocolError
from stream.protocol.messages import CONTROL, MESH
from stream.remote.settings import IceSettings
from stream.remote.transport.peer import Peer
from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.sdp import MAX_BYTES, MAX_SECTIONS, check_offer, read_fragment
from stream.remote.transport.video import SharedVideo

NEGOTIATED = max(50, INPUTS // 20)
"""Offers that go through a whole peer, which takes some ten times as long."""


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@cache
def offers() -> list[bytes]:
    """A camera's offer, a viewer's, and one with a microphone."""

    async def make(audio: bool, direction: str, channels: bool) -> bytes:
        peer = PeerConnection([])
        if audio:
            peer.addTransceiver("audio", "sendonly")
        peer.addTransceiver("video", direction)
        if channels:
            peer.createDataChannel(CONTROL)
            peer.createDataChannel(MESH, ordered=False, maxRetransmits=0)
        await peer.setLocalDescription(await peer.createOffer())
        text = peer.localDescription.sdp
        await peer.close()
        return text.encode()

    async def make_all() -> list[bytes]:
        wanted = [(False, "sendonly", False), (False, "recvonly", True), (True, "sendrecv", True)]
        return [await make(*one) for one in wanted]

    return asyncio.run(make_all())


FRAGMENT = (
    b"a=ice-options:trickle\r\na=group:BUNDLE 0 1\r\nm=video 9 UDP/TLS/RTP/SAVPF 97 98\r\na=mid:0\r\n"
    b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    b"a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host generation 0 ufrag abcd\r\n"
    b"a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n"
)


def rearranged(seed: bytes, changes: list[tuple[int, int, int, bytes]]) -> bytes:
    """An SDP with lines dropped, repeated up to 140 times, swapped, or with their last word replaced."""
    lines = seed.split(b"\r\n")
    for what, one, other, word in changes:
        place, there = one % len(lines), other % len(lines)
        if what == 0 and len(lines) > 1:
            del lines[place]
        elif what == 1:
            lines[there:there] = [lines[place]] * (other % 140)
        elif what == 2:
            lines[place], lines[there] = lines[there], lines[place]
        elif what == 3:
            lines[place] = lines[place][: lines[place].rfind(b" ") + 1] + word
        else:
            lines[place] = lines[place].partition(b":")[0] + b":" + word
    return b"\r\n".join(lines)


def bodies(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    words = st.binary(max_size=30) | st.sampled_from([str(value).encode() for value in (*INTEGERS, -1)])
    change = st.tuples(st.integers(0, 4), st.integers(0, 400), st.integers(0, 4000), words)
    lines = st.builds(rearranged, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=4))
    return lines | mutations(seeds)


def handle_offer(data: bytes) -> None:
    """As a publisher's and as a viewer's; what passes goes to aiortc's parser, whose errors are wrapped."""
    text = data.decode("utf-8", "replace")
    for receive in (True, False):
        with contextlib.suppress(ProtocolError):
            offer = check_offer(text, receive=receive)
            assert len(offer.bundle) <= MAX_SECTIONS
            assert len(offer.sdp) <= 4 * MAX_BYTES
            with contextlib.suppress(Exception):
                SessionDescription.parse(offer.sdp)


def handle_fragment(data: bytes) -> None:
    fragment = read_fragment(data.decode("utf-8", "replace"))
    assert len(fragment.candidates) <= 64


def handle_negotiation(data: bytes) -> None:
    """A whole peer either answers or says why not, and leaves nothing behind."""

    async def run() -> None:
        video = SharedVideo(64, 100)
        for receive in (True, False):
            peer = Peer(IceSettings(), 5.0)
            with contextlib.suppress(ProtocolError):
                answer = await peer.accept(
                    data.decode("utf-8", "replace"), receive=receive, send=None if receive else video.feed()
                )
                assert answer.startswith("v=0")
            await peer.close()
            assert peer.state in ("closed", "failed")
        video.close()

    asyncio.run(run())


def test_hostile_offers() -> None:
    fuzz(handle_offer, bodies(offers()))


def test_hostile_fragments() -> None:
    fuzz(handle_fragment, bodies([FRAGMENT]))


def test_hostile_offers_to_a_whole_peer() -> None:
    fuzz(handle_negotiation, bodies(offers()), NEGOTIATED)


@pytest.mark.parametrize("path", corpus("offers"), ids=lambda path: path.name)
def test_kept_offers(path: Path) -> None:
    survives(handle_offer, path.read_bytes())
    survives(handle_negotiation, path.read_bytes())


@pytest.mark.parametrize("path", corpus("fragments"), ids=lambda path: path.name)
def test_kept_fragments(path: Path) -> None:
    survives(handle_fragment, path.read_bytes())
