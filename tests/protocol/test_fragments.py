"""Messages in datagrams: by the document, in any order, lost, repeated, forged."""

import contextlib
import random
import struct
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ProtocolError
from stream.protocol.fragments import (
    HEADER,
    MAX_BODY,
    MAX_DATAGRAM,
    WAITING,
    WAITING_BYTES,
    Kind,
    Message,
    Reassembler,
)

ROOM = MAX_DATAGRAM - 12


def message(sequence: int, size: int = 3000, kind: Kind = Kind.MESH, lane: int = 0) -> Message:
    return Message(kind, lane, sequence, random.Random(sequence).randbytes(size))


def datagram(sequence: int, number: int, count: int, size: int = ROOM, lane: int = 0, kind: int = 1) -> bytes:
    return struct.pack("<BBBBIHH", 1, kind, lane, 0, sequence, number, count) + bytes(size)


def test_datagrams_are_what_the_document_describes() -> None:
    sent = message(9, 2 * ROOM + 5, Kind.EXPRESSION, 3)
    datagrams = sent.datagrams
    assert [len(data) for data in datagrams] == [1100, 1100, 17]
    for number, data in enumerate(datagrams):
        assert struct.unpack_from("<BBBBIHH", data) == (1, 2, 3, 0, 9, number, 3)
    assert b"".join(data[12:] for data in datagrams) == sent.body
    assert sent.whole == struct.pack("<BBBBIHH", 1, 2, 3, 0, 9, 0, 1) + sent.body


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 5 * ROOM), min_size=1, max_size=WAITING),
    seed=st.integers(0, 10**6),
    repeated=st.booleans(),
)
def test_datagrams_in_any_order_and_repeated_give_every_message_once(
    sizes: list[int], seed: int, repeated: bool
) -> None:
    messages = [message(sequence, size) for sequence, size in enumerate(sizes, start=1)]
    datagrams = [data for sent in messages for data in sent.datagrams] * (1 + repeated)
    random.Random(seed).shuffle(datagrams)
    reassembler = Reassembler()
    received = [done for data in datagrams if (done := reassembler.accept(data)) is not None]
    assert sorted(received, key=lambda done: done.sequence) == messages
    assert reassembler.given_up == 0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), loss=st.sampled_from([0.05, 0.25, 0.6]), late=st.integers(0, 60))
def test_with_losses_what_arrives_whole_is_right_and_comes_once(seed: int, loss: float, late: int) -> None:
    rng = random.Random(seed)
    messages = {n: message(n, rng.randrange(1, 4000), lane=n % 3) for n in range(1, 60)}
    datagrams = [data for sent in messages.values() for data in sent.datagrams if rng.random() >= loss]
    order = sorted(range(len(datagrams)), key=lambda place: place + rng.randrange(late + 1))
    reassembler = Reassembler()
    received = [done for place in order if (done := reassembler.accept(datagrams[place])) is not None]
    assert len({done.sequence for done in received}) == len(received)
    assert all(messages[done.sequence] == done for done in received)
    complete = sum(
        sum(struct.unpack_from("<I", data, 4)[0] == n for data in datagrams) == len(sent.datagrams)
        for n, sent in messages.items()
    )
    assert len(received) <= complete
    if not late:
        assert len(received) == complete


def test_the_newest_messages_are_waited_for_and_older_ones_given_up() -> None:
    reassembler = Reassembler()
    old = message(1).datagrams
    assert reassembler.accept(old[0]) is None
    for sequence in range(2, 2 + WAITING - 1):
        assert all(reassembler.accept(data) is None for data in message(sequence).datagrams[:-1])
    assert reassembler.given_up == 0
    assert all(reassembler.accept(data) is None for data in old[1:-1])
    assert reassembler.accept(old[-1]) == message(1), "a message just in time is still put together"
    assert reassembler.accept(message(WAITING + 1).datagrams[0]) is None
    assert reassembler.given_up == 0, "the one that went was complete"
    assert reassembler.accept(message(WAITING + 2).datagrams[0]) is None
    assert reassembler.given_up == 1
    assert all(reassembler.accept(data) is None for data in message(2).datagrams)
    assert reassembler.given_up == 1, "what comes of it afterwards is passed over"


def test_lanes_and_kinds_do_not_push_each_other_out() -> None:
    reassembler = Reassembler()
    first, *rest = message(1).datagrams
    reassembler.accept(first)
    for sequence in range(2, 100):
        other = message(sequence, 50, Kind(1 + sequence % 2), 1 + sequence % 5)
        done = reassembler.accept(other.datagrams[0])
        assert done is not None
    assert [reassembler.accept(data) for data in rest][-1] == message(1)


def test_forged_headers_cannot_fill_the_memory() -> None:
    """Three kinds, 16 lanes, 8 messages of 511 fragments each: 213 MB without the bound."""
    reassembler = Reassembler()
    sent = most = 0
    for sequence in range(1, WAITING + 1):
        for kind in (1, 2, 3):
            for lane in range(16):
                for number in range(0, 511, 10):
                    reassembler.accept(datagram(sequence * 100, number, 512, lane=lane, kind=kind))
                    sent += ROOM
                kept = [w for state in reassembler._lanes.values() for w in state.waiting.values() if w]
                held = sum(sys.getsizeof(part) for waiting in kept for part in waiting.parts.values())
                most = max(most, held)
    assert sent > 4 * WAITING_BYTES
    assert most <= 1.05 * WAITING_BYTES
    assert reassembler.given_up > 0
    done = [reassembler.accept(data) for data in message(10**6).datagrams]
    assert done[-1] == message(10**6), "honest messages still come through"


def test_what_is_counted_as_kept_is_what_is_kept() -> None:
    rng, reassembler = random.Random(5), Reassembler()
    for _ in range(4000):
        count = rng.randrange(1, 6)
        number, size = rng.randrange(count), rng.randrange(1, ROOM)
        data = datagram(
            rng.randrange(1, 40), number, count, size if number == count - 1 else ROOM, rng.randrange(2)
        )
        with contextlib.suppress(ProtocolError):
            reassembler.accept(data)
    kept = [waiting for lane in reassembler._lanes.values() for waiting in lane.waiting.values() if waiting]
    assert reassembler._bytes == sum(waiting.size for waiting in kept)
    assert all(len(lane.waiting) <= WAITING for lane in reassembler._lanes.values())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(12),
        HEADER.pack(1, 1, 0, 1, 0, 1),
        datagram(1, 0, 1, ROOM + 1),
        b"\2" + datagram(1, 0, 1)[1:],
        datagram(1, 0, 1, kind=0),
        datagram(1, 0, 1, kind=4),
        datagram(1, 0, 1, lane=16),
        datagram(0, 0, 1),
        datagram(1, 1, 1),
        datagram(1, 0, 0),
        datagram(1, 0, 513),
        datagram(1, 65535, 65535),
        datagram(1, 0, 2, ROOM - 1),
        datagram(1, 0, 1)[:3] + b"\1" + datagram(1, 0, 1)[4:],
    ],
)
def test_a_damaged_datagram_is_refused(data: bytes) -> None:
    reassembler = Reassembler()
    with pytest.raises(ProtocolError):
        reassembler.accept(data)
    assert [reassembler.accept(part) for part in message(1).datagrams][-1] == message(1)


def test_fragments_that_disagree_are_refused_and_the_message_still_completes() -> None:
    reassembler = Reassembler()
    first, *rest = message(1).datagrams
    reassembler.accept(first)
    with pytest.raises(ProtocolError, match="agree"):
        reassembler.accept(datagram(1, 1, 5))
    assert [reassembler.accept(data) for data in rest][-1] == message(1)


def test_a_websocket_carries_whole_messages() -> None:
    reassembler = Reassembler(whole=True)
    largest = message(4, MAX_BODY, Kind.TEXTURE)
    assert reassembler.accept(largest.whole) == largest
    assert reassembler.accept(largest.whole) is None
    for data in (datagram(5, 0, 2), largest.whole + b"\0"):
        with pytest.raises(ProtocolError):
            reassembler.accept(data)


@pytest.mark.parametrize("size", [0, MAX_BODY + 1])
def test_a_message_that_cannot_be_sent_is_refused(size: int) -> None:
    for form in ("datagrams", "whole"):
        with pytest.raises(ProtocolError, match="cannot be sent"):
            getattr(Message(Kind.MESH, 0, 1, bytes(size)), form)
    assert len(Message(Kind.MESH, 0, 1, bytes(MAX_BODY)).datagrams) == 512
