"""What is remembered of people goes with their tracks."""

from __future__ import annotations

from stream.memory import TrackMemory


def test_each_stage_has_its_own_state_of_each_track() -> None:
    memory = TrackMemory()
    depth = memory.recall(1, "depth", list[int])
    assert memory.recall(1, "depth", list[int]) is depth
    assert memory.recall(1, "expression", list[int]) is not depth
    assert memory.recall(2, "depth", list[int]) is not depth
    assert len(memory) == 2


def test_a_state_can_begin_anew() -> None:
    memory = TrackMemory()
    first, other = memory.recall(1, "depth", list[int]), memory.recall(1, "expression", list[int])
    assert memory.renew(1, "depth", list[int]) is not first
    assert memory.recall(1, "expression", list[int]) is other
    assert memory.renew(7, "depth", list[int]) == []


def test_tracks_that_are_gone_are_forgotten_with_all_that_belongs_to_them() -> None:
    memory = TrackMemory()
    for number in range(1000):
        memory.recall(number, "depth", list[int]).append(number)
        memory.keep([number, number - 1])
        assert len(memory) <= 2
    assert memory.recall(999, "depth", list[int]) == [999]
    memory.keep(())
    assert len(memory) == 0
