"""Control messages: bounded, answered, harmless."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from stream.protocol.clock import wall_micros
from stream.protocol.messages import AnyMessage, KeyRequest, Ping, Pong, write_message
from stream.remote.server.sessions import control
from stream.remote.server.sessions.control import RATE, ControlInbox


class Scene:
    """An inbox, what it told, and how often it was flooded."""

    def __init__(self) -> None:
        self.told: list[AnyMessage] = []
        self.floods = 0
        self.inbox = ControlInbox(self.told.append, self.flood)

    def flood(self) -> None:
        self.floods += 1


def test_messages_that_are_none_are_passed_over() -> None:
    scene = Scene()
    for text in ("", "{", '{"type":"dance"}', b"\xff", "[" * 9000):
        assert scene.inbox.read(text) is None
    assert scene.inbox.read('{"type":"key","more":1}') == KeyRequest()
    assert not scene.floods


def test_too_many_a_second_are_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, key = Scene(), write_message(KeyRequest())
    for second in (5.0, 6.1):
        monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda now=second: now))
        assert all(scene.inbox.read(key) is not None for _ in range(RATE))
        assert not scene.floods
    assert scene.inbox.read(key) is None
    assert scene.floods == 1
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda: 9.0))
    assert not scene.inbox.count()  # it stays one


def test_a_pong_has_the_pings_time_and_the_servers() -> None:
    scene = Scene()
    assert scene.inbox.read(write_message(Ping(time=12.5))) is None
    (pong,) = scene.told
    assert isinstance(pong, Pong)
    assert pong.time == 12.5
    assert abs(pong.server - wall_micros(time.monotonic())) < 1e6
