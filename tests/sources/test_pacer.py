"""The pace, on a clock the test turns."""

from __future__ import annotations

import threading
import time

import pytest

from stream.sources.pacer import PATIENCE, Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_media_time_maps_to_the_clock_from_the_first_frame_on() -> None:
    clock = Clock()
    pacer = Pacer(True, clock)
    assert pacer.wait(2.0) == 50.0
    clock.now = 50.5
    assert pacer.wait(2.5) == 50.5
    clock.now = 51.03
    assert pacer.wait(3.0) == 51.0


def test_a_frame_is_late_once_its_successor_is_due() -> None:
    clock = Clock()
    pacer = Pacer(True, clock)
    assert not pacer.late(0.0, 0.04)
    pacer.wait(0.0)
    clock.now = 50.0 + 0.08
    assert not pacer.late(0.04, 0.04)
    clock.now = 50.0 + 0.081
    assert pacer.late(0.04, 0.04)
    assert not pacer.late(0.08, 0.04)


def test_too_slow_a_source_is_played_slower_rather_than_not_at_all() -> None:
    clock = Clock()
    pacer = Pacer(True, clock)
    pacer.wait(0.0)
    clock.now = 50.0 + PATIENCE + 1.0
    assert not pacer.late(0.04, 0.04)
    assert pacer.wait(0.04) == pytest.approx(clock.now)
    assert pacer.wait(0.04) == pytest.approx(clock.now)


def test_unpaced_never_waits_and_nothing_is_late() -> None:
    clock = Clock()
    pacer = Pacer(False, clock)
    assert [pacer.wait(second) for second in (0.0, 1000.0)] == [50.0, 1050.0]
    clock.now = 9e9
    assert not pacer.late(1.0, 0.01)


def test_waiting_takes_as_long_as_it_should() -> None:
    pacer = Pacer(True)
    start = pacer.wait(0.0)
    due = pacer.wait(0.05)
    assert start is not None
    assert due is not None
    assert due == pytest.approx(start + 0.05)
    assert time.monotonic() >= due


def test_interrupt_ends_the_waiting() -> None:
    pacer = Pacer(True)
    pacer.wait(0.0)
    threading.Timer(0.05, pacer.interrupt).start()
    assert pacer.wait(600.0) is None
    assert pacer.wait(0.0) is None
