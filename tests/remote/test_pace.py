"""The pace of a server that sends to more viewers than it can: found, shared, and given back."""

from __future__ import annotations

import math

from stream.remote.server.sessions.pace import SLOWEST, Pace


def play(pace: Pace, capacity: float, seconds: float, begin: float = 0.0) -> list[float]:
    """Rates while a server that hands out so many meshes a second has one offered at the pace's rate."""
    rates, now, free = [], begin, begin
    while now < begin + seconds:
        now += 1 / min(pace.rate, 30.0)
        free = max(free, now - 0.2) + 1 / capacity  # what waits longer is given up
        pace.delivered(free - now > 0.03 + 1 / capacity, now)
        free = max(free, now)
        rates.append(pace.rate)
    return rates


def test_a_server_that_keeps_up_is_not_held_back() -> None:
    assert set(play(Pace(), 1000.0, 20)) == {math.inf}


def test_the_pace_settles_near_what_the_server_can_hand_out() -> None:
    for capacity in (6.0, 10.0, 20.0):
        rates = play(Pace(), capacity, 60)[-100:]
        assert 0.6 * capacity < sum(rates) / len(rates) < 1.4 * capacity


def test_it_comes_back_when_the_trouble_is_over() -> None:
    pace = Pace()
    play(pace, 5.0, 30)
    assert pace.rate < 10
    assert play(pace, 1000.0, 40, begin=30.0)[-1] == math.inf


def test_at_its_slowest_it_leaves_the_rest_to_the_viewers() -> None:
    pace = Pace()
    assert not pace.exhausted
    play(pace, 1.0, 30)
    assert pace.exhausted
    assert pace.rate == 1 / SLOWEST
