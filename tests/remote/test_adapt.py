"""What a viewer gets follows what its link can take."""

from __future__ import annotations

import itertools

import pytest

from stream.protocol.messages import Report
from stream.remote.server.sessions.adapt import (
    LEVELS,
    LOSS,
    MOST_PATIENCE,
    PATIENCE,
    SMALLEST,
    WINDOW,
    Adaptation,
)
from stream.remote.server.sessions.mailbox import Tier

RATE = 30
BYTES = {Tier.FULL: 6000, Tier.COARSE: 5000, Tier.HALF: 1500}


class SimulatedLink:
    """A viewer behind a link of so many bytes a second: 30 meshes a second are offered, one can wait.

    :ivar places: the level's number, frame by frame.
    """

    def __init__(self, capacity: float, now: float = 0.0) -> None:
        self.capacity, self.now = capacity, now
        self.adapt = Adaptation(now)
        self.places: list[int] = []
        self.sent = 0
        self.loss: float | None = None
        self.latency: float | None = None
        self._free_at = self._due = now
        self._waiting = False
        self._received = 0

    def play(self, seconds: float) -> None:
        for number in range(round(seconds * RATE)):
            self.now += 1 / RATE
            self._offer()
            self.adapt.look(self.now)
            self.places.append(LEVELS.index(self.adapt.level))
            if number % RATE == RATE - 1 and (self.loss is not None or self.latency is not None):
                self._received = round(self.sent * (1 - (self.loss or 0.0)))
                told = Report(received=self._received, lost=0, shown=0, latency_ms=self.latency)
                self.adapt.report(told)

    def _offer(self) -> None:
        if self._waiting and self._free_at <= self.now:
            self._send(self._free_at)
        if self.now < self._due:
            return
        if self.now < self._free_at:
            if self._waiting:
                self.adapt.replaced()
            self._waiting = True
        else:
            self._send(self.now)

    def _send(self, now: float) -> None:
        level = self.adapt.level
        self._waiting = False
        self._free_at = now + BYTES[level.tier] / self.capacity
        self._due = now + level.interval * 0.99
        self.sent += 1
        self.adapt.sent()

    @property
    def place(self) -> int:
        return self.places[-1]


def test_a_good_link_gets_everything() -> None:
    link = SimulatedLink(1e6)
    link.play(30)
    assert set(link.places) == {0}
    assert link.sent == 30 * RATE


@pytest.mark.parametrize(("capacity", "place"), [(60_000, 2), (30_000, 3), (10_000, 5)])
def test_a_narrow_link_is_soon_given_what_it_can_take(capacity: float, place: int) -> None:
    link = SimulatedLink(capacity)
    link.play(4)
    assert link.place == place
    assert link.places.index(place) <= (place + 1) * WINDOW * RATE + 1  # a step in each window


def test_a_link_that_gets_better_gets_more_step_by_step() -> None:
    link = SimulatedLink(10_000)
    link.play(4)
    assert link.place == len(LEVELS) - 1
    link.capacity = 1e6
    link.play((len(LEVELS) - 1) * PATIENCE + 5)
    assert link.place == 0
    ups = [b - a for a, b in zip(link.places[4 * RATE :], link.places[4 * RATE + 1 :], strict=False)]
    assert min(ups) == -1


def test_steps_up_that_do_not_hold_are_tried_less_and_less() -> None:
    link = SimulatedLink(60_000)
    link.play(400)
    ups = [
        number / RATE
        for number, (a, b) in enumerate(zip(link.places, link.places[1:], strict=False))
        if b < a and number > 4 * RATE
    ]
    gaps = [b - a for a, b in itertools.pairwise(ups)]
    assert all(b > a - WINDOW for a, b in itertools.pairwise(gaps))
    assert gaps[-1] > 6 * PATIENCE
    assert max(gaps) < MOST_PATIENCE + 2
    assert sum(place == 2 for place in link.places) > 0.9 * len(link.places)


def test_loss_makes_messages_smaller_but_not_rarer() -> None:
    link = SimulatedLink(1e6)
    link.loss = 0.4
    link.play(60)
    assert link.place == SMALLEST
    assert max(link.places) == SMALLEST
    link.loss = LOSS / 3
    link.play(30)
    assert link.place == 0


def test_a_latency_that_grows_makes_less_be_sent() -> None:
    link = SimulatedLink(1e6)
    link.latency = 80.0
    link.play(10)
    assert link.place == 0
    link.latency = 600.0
    link.play(10)
    assert link.place > SMALLEST
    link.latency = 90.0
    link.play(60)
    assert link.place == 0


def test_a_latency_that_was_always_high_is_no_trouble() -> None:
    link = SimulatedLink(1e6)
    link.latency = 900.0  # far away, or a clock that is off
    link.play(20)
    assert set(link.places) == {0}


def test_a_viewer_that_begins_to_count_anew_is_no_loss() -> None:
    adapt = Adaptation(0.0)
    for received in (100, 130, 2):
        for _ in range(30):
            adapt.sent()
        adapt.report(Report(received=received, lost=0, shown=0))
    assert not adapt.look(1.0)
    assert adapt.level == LEVELS[0]
