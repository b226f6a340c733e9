"""Control messages: bounded, answered, harmless."""

from __future__ import annotations

import time

from stream.protocol.clock import wall_micros
from stream.protocol.messages import Clock, KeyRequest, Ping, Pong, read_message, write_message
from stream.remote.server.sessions.control import RATE, ControlInbox, PublisherControl, answer


def test_messages_that_are_none_are_passed_over() -> None:
    inbox = ControlInbox()
    assert [inbox.read(text, 1.0) for text in ("", "{", '{"type":"dance"}', b"\xff", "[" * 9000)] == [
        None
    ] * 5
    assert inbox.read('{"type":"key","more":1}', 1.0) == KeyRequest()
    assert not inbox.flooded


def test_too_many_a_second_are_a_flood() -> None:
    inbox = ControlInbox()
    key = write_message(KeyRequest())
    for second in (5.0, 6.1):
        assert all(inbox.read(key, second) is not None for _ in range(RATE))
        assert not inbox.flooded
    assert inbox.read(key, 6.5) is None
    assert inbox.flooded


def test_a_pong_has_the_pings_time_and_the_servers() -> None:
    pong = answer(Ping(time=12.5))
    assert pong.time == 12.5
    assert abs(pong.server - wall_micros(time.monotonic())) < 1e6


def test_a_publisher_tells_its_clock_and_is_answered() -> None:
    clocks: list[Clock] = []
    floods: list[bool] = []
    sent: list[str] = []

    def tell(text: str) -> bool:
        sent.append(text)
        return True

    control = PublisherControl(tell, clocks.append, lambda: floods.append(True))
    control.heard(write_message(Clock(rtp=7)))
    control.heard(write_message(Ping(time=3.0)))
    assert clocks == [Clock(rtp=7)]
    (pong,) = map(read_message, sent)
    assert isinstance(pong, Pong)
    assert pong.time == 3.0
    for _ in range(RATE):
        control.heard("?")
    assert floods
