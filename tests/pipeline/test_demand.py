"""What sinks want decides which steps run on a frame."""

from __future__ import annotations

from itertools import pairwise

from pipeline.test_plan import ON_HOST

from stream.pipeline.demand import EVERY, Demand, Demands
from stream.pipeline.plan import plan

PLAN = plan(["mesh", "surface", "expression"], ON_HOST)
TO_SURFACE = {"face", "depth", "surface"}


def test_demands_are_added_up() -> None:
    demands = Demands(PLAN, [lambda: {"surface": EVERY}, lambda: {"expression": EVERY, "surface": 2.0}])
    assert demands(0.0) == demands(0.001) == TO_SURFACE | {"expression"}


def test_nothing_wanted_is_nothing_done() -> None:
    assert Demands(PLAN, [])(0.0) == Demands(PLAN, [dict])(1.0) == set()
    assert Demands(PLAN, [lambda: {"mesh": 0.0}])(0.0) == set()


def test_a_rate_is_kept_whatever_the_frames_rate() -> None:
    demands = Demands(PLAN, [lambda: {"face": 4.0}])
    looked = [number for number in range(601) if demands(number / 30)]
    assert len(looked) == 20 * 4 + 1
    assert {later - earlier for earlier, later in pairwise(looked)} == {7, 8}


def test_a_late_turn_is_not_made_up_for() -> None:
    demands = Demands(PLAN, [lambda: {"face": 4.0}])
    assert demands(0.0)
    assert demands(3.0)
    assert not demands(3.2)
    assert demands(3.25)


def test_a_slow_demand_does_not_slow_another() -> None:
    demands = Demands(PLAN, [lambda: {"face": 4.0}, lambda: {"surface": 16.0}])
    steps = [demands(number / 30) for number in range(30)]
    assert sum(one == TO_SURFACE for one in steps) == 16
    assert all(one in (TO_SURFACE, {"face"}, set()) for one in steps)


def test_a_change_counts_from_the_next_frame_on() -> None:
    now: Demand = {}
    demands = Demands(PLAN, [lambda: now])
    assert demands(0.0) == set()
    now = {"expression": EVERY}
    assert demands(0.03) == {"face", "expression"}
    now = {}
    assert demands(0.06) == set()
