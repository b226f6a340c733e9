"""What is remembered of people goes with their tracks."""

from __future__ import annotations

from stream.memory import TrackMemory


def test_each_stage_has_its_own_state_of_each_track() -> None:
    memory = TrackMemory()
    depth = memory.recall(1, "depth", list)
    assert memory.recall(1, "depth", list) is depth
    assert memory.recall(1, "expression", list) is not depth
    assert memory.recall(2, "depth", list) is not depth
    assert len(memory) == 2


def test_a_state_can_begin_anew() -> None:
    memory = TrackMemory()
    first, other = memory.recall(1, "depth", list), memory.recall(1, "expression", list)
    assert memory.renew(1, "depth", list) is not first
    assert memory.recall(1, "expression", list) is other
    assert memory.renew(7, "depth", list) == []


def test_tracks_that_are_gone_are_forgotten_with_all_that_belongs_to_them() -> None:
    memory = TrackMemory()
    for number in range(1000):
        memory.recall(number, "depth", list).append(number)
        memory.keep([number, number - 1])
        assert len(memory) <= 2
    assert memory.recall(999, "depth", list) == [999]
    memory.keep(())
    assert len(memory) == 0
