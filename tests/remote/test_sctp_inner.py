"""The private parts of aiortc's SCTP are there, and a hostile peer can make it keep and do little."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import struct
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc import rtcsctptransport
from aiortc.rtcsctptransport import RTCSctpTransport, SackChunk
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.sctp_inner import (
    MAX_CHANNELS,
    MAX_DUPLICATES,
    MAX_MISORDERED,
    MAX_STREAMS,
    MAX_UNFINISHED,
    BoundSctp,
)


@contextlib.asynccontextmanager
async def transport(last: int = 0) -> AsyncIterator[Any]:
    """A bounded transport that received everything up to ``last``."""
    rtc = PeerConnection([])
    rtc.createDataChannel("x")
    sctp: Any = rtc.sctp
    sctp._last_received_tsn = last
    yield sctp
    await rtc.close()


def chunk(tsn: int, stream: int = 1, flags: int = 0, size: int = 1) -> SimpleNamespace:
    """Data; ``flags`` 7 is a whole unordered message, 4 the middle of one."""
    return SimpleNamespace(
        tsn=tsn, stream_id=stream, stream_seq=0, flags=flags, protocol=53, user_data=bytes(size)
    )


def test_the_parts_are_there() -> None:
    source = inspect.getsource(rtcsctptransport)
    for call in (
        "self._mark_received(chunk.tsn)", "await self._receive_data_chunk(chunk)",
        "await self._receive_sack_chunk(chunk)", "for pos in range(gap[0], gap[1] + 1)",
        "sack.duplicates = self._sack_duplicates[:]", "self._inbound_streams[stream_id]",
        "self._sack_misordered", "self._advertised_rwnd", "await self._transmit()",
    ):  # fmt: skip
        assert call in source, call
    for name in ("_handle_data", "_data_channel_receive", "_mark_received"):
        assert callable(getattr(RTCSctpTransport, name))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    start=st.sampled_from([0, 1000, 2**32 - 40]),
    order=st.lists(st.integers(1, 60), max_size=120),
)
def test_chunks_are_marked_as_aiortc_marks_them(start: int, order: list[int]) -> None:
    def plain() -> Any:
        return SimpleNamespace(_last_received_tsn=start, _sack_misordered=set(), _sack_duplicates=[])

    ours, theirs = plain(), plain()
    received = set()
    for step in order:
        tsn = (start + step) % 2**32
        answer = BoundSctp._mark_received(ours, tsn)
        assert answer == (step in received)
        received.add(step)
        whole = next(n for n in range(61) if n + 1 not in received)
        assert ours._last_received_tsn == (start + whole) % 2**32
        assert ours._sack_misordered == {(start + n) % 2**32 for n in received if n > whole}
        if start < 2**31:  # where numbers wrap, aiortc's sorting is wrong
            assert RTCSctpTransport._mark_received(theirs, tsn) == answer
            assert theirs._last_received_tsn == ours._last_received_tsn
            assert theirs._sack_misordered == ours._sack_misordered


def test_duplicates_are_few_in_an_acknowledgement() -> None:
    async def run() -> None:
        async with transport(100) as sctp:
            for _ in range(1000):
                await sctp._receive_data_chunk(chunk(50))
            assert len(sctp._sack_duplicates) == MAX_DUPLICATES

    asyncio.run(run())


@pytest.mark.parametrize(
    ("made", "most"),
    [
        (lambda n: chunk(2 * n, flags=7), MAX_MISORDERED),  # every second one is missing
        (lambda n: chunk(n, flags=4), MAX_UNFINISHED),  # a message without end
        (lambda n: chunk(n, stream=n, flags=7), MAX_STREAMS),
        (lambda n: chunk(n, flags=4, size=60_000), 1_200_000 // 60_000),
    ],
    ids=["gaps", "unfinished", "streams", "bytes"],
)
def test_who_sends_more_than_an_honest_peer_is_cut_off(made: Any, most: int) -> None:
    async def run() -> None:
        async with transport() as sctp:
            taken = 0
            with pytest.raises(ConnectionError):  # noqa: PT012
                for number in range(1, 3000):
                    await sctp._receive_data_chunk(made(number))
                    taken = number
            assert 0.8 * most <= taken <= most + 2

    asyncio.run(run())


def test_whole_messages_go_on_for_ever() -> None:
    async def run() -> None:
        async with transport() as sctp:
            for number in range(1, 3000):
                await sctp._receive_data_chunk(chunk(number, flags=7))
            assert sctp._last_received_tsn == 2999
            assert sctp._inbound_streams[1].reassembly == []

    asyncio.run(run())


def test_gaps_that_we_never_sent_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with transport() as sctp:
            seen: list[tuple[int, int]] = []

            async def receive(self: RTCSctpTransport, told: SackChunk) -> None:
                seen.extend(told.gaps)

            monkeypatch.setattr(RTCSctpTransport, "_receive_sack_chunk", receive)
            sack = SackChunk()
            sack.cumulative_tsn, sack.advertised_rwnd = sctp._last_sacked_tsn, 1000
            sack.gaps = [(1, 65_535)] * 300
            await sctp._receive_sack_chunk(sack)
            assert seen == []
            for ahead in range(1, 21):
                sctp._sent_queue.append(SimpleNamespace(tsn=(sack.cumulative_tsn + ahead) % 2**32))
            sack.gaps = [(3, 5), (4, 9), (7, 8), (2, 2), (12, 20), (15, 65_535)]
            await sctp._receive_sack_chunk(sack)
            assert seen == [(3, 5), (7, 8), (12, 20)]
            sctp._sent_queue.clear()

    asyncio.run(run())


def test_a_datagram_asks_for_few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with transport() as sctp:
            handled: list[bytes] = []

            async def handle(self: RTCSctpTransport, data: bytes) -> None:
                handled.append(data)

            monkeypatch.setattr(RTCSctpTransport, "_handle_data", handle)
            header, heartbeat = bytes(12), struct.pack("!BBH", 4, 0, 5) + bytes(4)
            data = struct.pack("!BBH", 0, 3, 17) + bytes(16)
            for good in (header + heartbeat * 8, header + data * 60 + heartbeat, header, b"", header + b"\0"):
                await sctp._handle_data(good)
            assert len(handled) == 5
            for bad in (header + heartbeat * 9, header + data + heartbeat * 9, header + b"\4\0\0\0" * 300):
                await sctp._handle_data(bad)
            assert len(handled) == 5

    asyncio.run(run())


def test_a_peer_opens_few_channels_only() -> None:
    async def run() -> None:
        async with transport() as sctp:
            for stream in range(1, 100, 2):
                await sctp._data_channel_receive(stream, 50, b"\x03" + bytes(11))
            assert len(sctp._data_channels) == MAX_CHANNELS

    asyncio.run(run())
