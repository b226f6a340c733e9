"""Hostile datagrams and control messages."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fuzz.hostile import INTEGERS, corpus, fuzz, mutations, survives
from hypothesis import strategies as st

from stream.errors import ProtocolError
from stream.expression.arkit import ARKIT_NAMES
from stream.protocol.fragments import (
    HEADER,
    MAX_BODY,
    WAITING,
    WAITING_BYTES,
    Kind,
    Message,
    Reassembler,
)
from stream.protocol.messages import (
    MAX_BYTES,
    Clock,
    Hello,
    KeyRequest,
    Ping,
    Pong,
    Report,
    State,
    Subscribe,
    read_message,
    write_message,
)

SOUND = [
    data
    for number, size in enumerate((1, 900, 1088, 1089, 3000), start=1)
    for data in Message(Kind(1 + number % 3), number % 3, number, bytes(size)).datagrams
]

CONTROL = [
    write_message(message).encode()
    for message in (
        Subscribe(),
        KeyRequest(),
        Ping(time=1.5),
        Pong(time=1.5, server=10**15),
        Report(received=1, lost=2, shown=3, latency_ms=4.5),
        Hello(protocol=1, session="a", size=128, key_seconds=2.0, expressions=list(ARKIT_NAMES)),
        Clock(rtp=5),
        State(state="live", faces=1, viewers=2),
    )
]


def handle_datagrams(data: bytes) -> None:
    """Each of them after its length in two bytes; one that is refused does not end the connection."""
    reassemblers = Reassembler(), Reassembler(whole=True)
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 2], "little")
        datagram = data[place + 2 : place + 2 + length]
        place += 2 + length
        for reassembler in reassemblers:
            with contextlib.suppress(ProtocolError):
                message = reassembler.accept(datagram)
                assert message is None or 1 <= len(message.body) <= MAX_BODY
            check_bounds(reassembler)


def check_bounds(reassembler: Reassembler) -> None:
    lanes = reassembler._lanes.values()
    held = sum(waiting.size for lane in lanes for waiting in lane.waiting.values() if waiting is not None)
    assert reassembler._bytes == held <= WAITING_BYTES
    assert len(lanes) <= 3 * 16
    assert all(len(lane.waiting) <= WAITING for lane in lanes)


def framed(datagrams: list[bytes]) -> bytes:
    return b"".join(struct.pack("<H", len(data)) + data for data in datagrams)


def forged_datagrams() -> st.SearchStrategy[bytes]:
    def integer(bits: int) -> st.SearchStrategy[int]:
        return st.sampled_from([value % 2**bits for value in INTEGERS]) | st.integers(0, 2**bits - 1)

    few = st.integers(0, 4)
    header = st.builds(
        HEADER.pack,
        st.sampled_from([1, 1, 1, 1, 0, 2]),
        few | integer(8),
        few | integer(8),
        few | integer(32),
        few | integer(16),
        few | integer(16),
    )
    body = st.sampled_from([b"", b"a", bytes(1088), bytes(1088), bytes(1088), bytes(1089)])
    datagram = st.builds(lambda head, rest: head + rest, header, body)
    return st.lists(datagram | mutations(SOUND, 2), max_size=24).map(framed)


def handle_control(data: bytes) -> None:
    """As bytes and as text, which from a data channel may hold what UTF-8 cannot."""
    with contextlib.suppress(ProtocolError):
        read_message(data.decode("utf-8", "surrogateescape"))
    message = read_message(data)
    assert read_message(write_message(message)) == message


def forged_control() -> st.SearchStrategy[bytes]:
    """Sound messages with values of other kinds put into their keys."""
    number = st.integers() | st.floats() | st.sampled_from([*INTEGERS, -1, 1e308, 2**53 + 1])
    leaf = st.none() | st.booleans() | number | st.text(max_size=70)

    def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)

    value = st.recursive(leaf, nested, max_leaves=8)

    def put(text: bytes, key: str | None, new: Any) -> bytes:
        content = json.loads(text)
        keys = list(content)
        content[key if key is not None else keys[len(str(new)) % len(keys)]] = new
        return json.dumps(content).encode()[: 2 * MAX_BYTES]

    return st.builds(put, st.sampled_from(CONTROL), st.none() | st.text(max_size=8), value)


def test_hostile_datagrams() -> None:
    fuzz(handle_datagrams, forged_datagrams() | mutations([framed(SOUND)]))


def test_hostile_control_messages() -> None:
    fuzz(handle_control, mutations(CONTROL) | forged_control())


@pytest.mark.parametrize("path", corpus("datagrams"), ids=lambda path: path.name)
def test_kept_datagrams(path: Path) -> None:
    survives(handle_datagrams, path.read_bytes())


@pytest.mark.parametrize("path", corpus("control"), ids=lambda path: path.name)
def test_kept_control_messages(path: Path) -> None:
    survives(handle_control, path.read_bytes())
