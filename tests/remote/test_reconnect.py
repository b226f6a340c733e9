"""A connection that comes back by itself: how often it is tried, and when it is given up."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import pytest

from stream.errors import RemoteError
from stream.remote.client import reconnect
from stream.remote.client.address import Address
from stream.remote.client.reconnect import Reconnecting
from stream.remote.client.signalling import AccessError, Signalling, WaitError


class Line:
    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class Party(Reconnecting[Line]):
    """Connects unless there is a failure to raise.

    :ivar failures: of the next attempts.
    """

    def __init__(self, patience: float = math.inf, ended: bool = False) -> None:
        super().__init__(Address("http://127.0.0.1:9"), "Testing", patience)
        self.ended = ended
        self.failures: list[Exception] = []
        self.lines: list[Line] = []
        self.attempts: list[float] = []
        self.over: list[RemoteError | None] = []

    async def _connect(self, signalling: Signalling) -> Line:
        self.attempts.append(time.monotonic())
        if self.failures:
            raise self.failures.pop(0)
        self.lines.append(Line())
        return self.lines[-1]

    def _lost(self, connection: Line) -> bool:
        return self.ended

    def _left(self, connection: Line) -> None:
        assert not connection.closed

    def _finish(self, error: RemoteError | None) -> None:
        self.over.append(error)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def lose(party: Party, *failures: Exception, until_true: Callable[[], object]) -> None:
    """Open it, lose its connection, and let these failures meet it."""

    async def run() -> None:
        async with party:
            assert party.connected
            party.failures += failures
            party.lines[0].lost.set()
            await until(until_true)
            assert party.lines[0].closed
        assert all(line.closed for line in party.lines)

    asyncio.run(run())


def test_it_comes_back_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "BACKOFF", (0.02, 0.05))
    party = Party()
    lose(party, *[RemoteError("not yet")] * 3, until_true=lambda: len(party.lines) == 2)
    pauses = [after - before for before, after in zip(party.attempts[1:], party.attempts[2:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.05, 0.05), strict=True))
    assert (party._reconnections, party.over) == (1, [])


def test_a_server_that_says_when_is_asked_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "BACKOFF", (0.001,))
    party = Party()
    lose(party, WaitError("later", 1), until_true=lambda: len(party.lines) == 2)
    assert party.attempts[2] - party.attempts[1] >= 1.0


@pytest.mark.parametrize("ended", [False, True])
def test_patience_ends_with_the_failure_or_with_none_where_it_had_ended(ended: bool) -> None:
    party, failure = Party(patience=0.05, ended=ended), RemoteError("gone")
    lose(party, failure, until_true=lambda: party.over)
    assert party.over == [None if ended else failure]


def test_who_is_not_let_in_any_more_does_not_ask_again() -> None:
    party, failure = Party(ended=True), AccessError("no")
    lose(party, failure, until_true=lambda: party.over)
    assert party.over == [failure]
    assert len(party.attempts) == 2


def test_a_mistake_of_ours_is_told_to_who_waits() -> None:
    party = Party(ended=True)
    lose(party, ValueError("odd"), until_true=lambda: party.over)
    (error,) = party.over
    assert "Testing has ended by a mistake of ours (odd); start again." in str(error)
