"""Control messages: what the document shows is read, what it does not is passed over or refused."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ProtocolError
from stream.expression.arkit import ARKIT_NAMES
from stream.protocol.messages import (
    MAX_BYTES,
    AnyMessage,
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

DOCUMENT = Path(__file__).parents[2] / "docs/protocol.md"

MESSAGES: list[AnyMessage] = [
    Subscribe(mesh=False, expression=True, texture=True),
    KeyRequest(),
    Ping(time=12.25),
    Pong(time=12.25, server=1_800_000_000_000_000),
    Report(received=10, lost=1, shown=9, latency_ms=33.5),
    Report(received=0, lost=0, shown=0),
    Hello(protocol=1, session="hall", size=128, key_seconds=2.0, expressions=list(ARKIT_NAMES)),
    Clock(rtp=2**32 - 1),
    State(state="waiting", faces=0, viewers=20),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_messages_come_back(message: AnyMessage) -> None:
    text = write_message(message)
    assert read_message(text) == message
    assert read_message(text.encode()) == message
    assert read_message(json.dumps(json.loads(text) | {"later": [1, {"more": None}]})) == message
    assert len(text) < MAX_BYTES


def test_every_message_that_the_document_shows_is_read() -> None:
    examples = re.findall(r"\| `(\{\"type\".*?\})` \|", DOCUMENT.read_text())
    values = {"NAME": '"hall"', "[52 names]": "[]", "OFFSET": "5", "MICROSECONDS": "7"}
    kinds = set()
    for example in examples:
        for word, value in values.items():
            example = example.replace(word, value)
        example = re.sub(r'"live" or .*? or "ended"', '"live"', example)
        example = re.sub(r"T or null|\b[NT]\b", "3", example)
        kinds.add(read_message(example).type)
    assert kinds == {message.type for message in MESSAGES}


def test_a_viewer_that_says_nothing_gets_meshes() -> None:
    assert read_message('{"type": "subscribe"}') == Subscribe(mesh=True, expression=False, texture=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        '{"type": "unknown"}',
        '{"type": ["ping"], "time": 1}',
        '{"type": "ping"}',
        '{"type": "ping", "time": "1"}',
        '{"type": "ping", "time": NaN}',
        '{"type": "ping", "time": 1e999}',
        '{"type": "ping", "time": ' + "9" * 5000 + "}",
        '{"type": "pong", "time": 1, "server": -1}',
        '{"type": "pong", "time": 1, "server": 1.5}',
        '{"type": "report", "received": true, "lost": 0, "shown": 0}',
        '{"type": "report", "received": 1e6, "lost": 0, "shown": 0.5}',
        '{"type": "subscribe", "mesh": 1}',
        '{"type": "state", "state": "gone", "faces": 0, "viewers": 0}',
        '{"type": "clock", "rtp": 4294967296}',
        '{"type": "hello", "protocol": 1, "session": "' + "a" * 65 + '", "size": 128, "key_seconds": 2.0, '
        '"expressions": []}',
        '{"type": "ping", "time": 1, "name": "\ud800"}',
        "[" * 10_000,
        '{"type": "ping", "time": 1, "deep": ' + '{"a":' * 2000 + "1" + "}" * 2000 + "}",
        '{"type": "ping", "time": 1, "pad": "' + "x" * MAX_BYTES + '"}',
        b"\xff\xfe\x00",
        b'{"type": "ping", "time": 1, "name": "\xed\xa0\x80"}',
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        read_message(text)


def test_the_length_is_that_in_bytes() -> None:
    frame = '{{"type":"key","pad":"{}"}}'
    fits = frame.format("é" * ((MAX_BYTES - len(frame.format(""))) // 2))
    assert MAX_BYTES - 1 <= len(fits.encode()) <= MAX_BYTES
    assert read_message(fits) == KeyRequest()
    with pytest.raises(ProtocolError, match="too long"):
        read_message(fits.replace("é", "éé", 1))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(time=st.floats(allow_nan=False, allow_infinity=False), server=st.integers(0, 2**53))
def test_clocks_come_back_exactly(time: float, server: int) -> None:
    assert read_message(write_message(Pong(time=time, server=server))) == Pong(time=time, server=server)
