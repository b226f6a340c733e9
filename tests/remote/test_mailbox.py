"""The newest of each kind and lane, and never a delta frame without its key frame."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.protocol.fragments import Kind, Message
from stream.remote.server.sessions.mailbox import Mailbox, Packet


def mesh(sequence: int, reference: int = 0, lane: int = 0) -> Packet:
    return Packet(Message(Kind.MESH, lane, sequence, b"x"), reference=reference)


def sequences(box: Mailbox) -> list[int]:
    taken = []
    while packet := box.take(0.0):
        taken.append(packet.message.sequence)
    return taken


def test_a_newer_message_replaces_one_that_waits_and_lanes_do_not_mix() -> None:
    box = Mailbox()
    assert [box.put(mesh(1)), box.put(mesh(2, lane=1)), box.put(mesh(3))] == [0, 0, 1]
    assert box.put(Packet(Message(Kind.EXPRESSION, 0, 4, b"x"))) == 0
    assert sequences(box) == [3, 2, 4]
    assert box.wait(0.0) is None


def test_a_delta_waits_behind_the_key_frame_it_needs() -> None:
    box = Mailbox()
    assert [box.put(mesh(1)), box.put(mesh(2, 1)), box.put(mesh(3, 1))] == [0, 0, 1]
    assert sequences(box) == [1, 3]
    assert box.put(mesh(4, 1)) == 0  # the key frame was read
    assert sequences(box) == [4]


def test_a_new_key_frame_replaces_both() -> None:
    box = Mailbox()
    box.put(mesh(1))
    box.put(mesh(2, 1))
    assert box.put(mesh(3)) == 2
    assert box.put(mesh(4, 1)) == 1
    assert box.lacks_key  # the first key frame never came this way
    assert sequences(box) == [3]


def test_a_delta_without_its_key_frame_is_dropped_and_told() -> None:
    box = Mailbox()
    assert box.put(mesh(5, 4)) == 1
    assert box.lacks_key
    assert box.take(0.0) is None


def test_an_older_message_never_replaces_a_newer_one() -> None:
    box = Mailbox()
    box.put(mesh(7))
    assert box.put(mesh(6)) == 1
    assert sequences(box) == [7]
    box.put(mesh(3))  # a late key frame is no reason to forget the newer one
    assert sequences(box) == [3]
    assert box.put(mesh(8, 7)) == 0


def test_an_interval_holds_a_lane_back_but_no_other_and_no_expressions() -> None:
    box = Mailbox()
    box.put(mesh(1))
    assert box.take(10.0, 0.25) is not None
    waiting = mesh(2, 1)
    assert box.throttled(waiting, 10.1)
    box.put(waiting)
    box.put(mesh(3, lane=1))
    box.put(Packet(Message(Kind.EXPRESSION, 0, 4, b"x")))
    assert box.wait(10.1) == 0.0
    assert [packet.message.sequence for packet in (box.take(10.1, 0.25), box.take(10.1, 0.25)) if packet] == [
        3,
        4,
    ]
    assert box.take(10.1) is None
    assert abs((box.wait(10.1) or 0) - 0.15) < 1e-9
    assert box.take(10.25) is waiting


def test_what_is_no_longer_wanted_is_forgotten() -> None:
    box = Mailbox()
    box.put(mesh(1))
    box.put(Packet(Message(Kind.EXPRESSION, 0, 2, b"x")))
    box.clear(Kind.MESH)
    assert sequences(box) == [2]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["key", "delta", "take"]), max_size=60))
def test_a_reader_can_decode_all_it_gets_in_order_and_everything_is_counted(steps: list[str]) -> None:
    box, sequence, key, put, dropped = Mailbox(), 0, 0, 0, 0
    known: set[int] = set()
    taken: list[int] = []

    def read() -> bool:
        packet = box.take(0.0)
        if packet is None:
            return False
        assert not packet.reference or packet.reference in known
        known.add(packet.message.sequence)
        taken.append(packet.message.sequence)
        return True

    for step in steps:
        if step == "take":
            read()
            continue
        sequence += 1
        put += 1
        if step == "key" or not key:
            key = sequence
            dropped += box.put(mesh(sequence))
        else:
            dropped += box.put(mesh(sequence, key))
    while read():
        pass
    assert taken == sorted(taken)
    assert put == dropped + len(taken)
    assert not sequence or box.lacks_key or taken[-1] == sequence
