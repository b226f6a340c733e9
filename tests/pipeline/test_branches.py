"""Forks and joins by themselves: who gets what, who waits, and how they end."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.pipeline.branches import Fork, Join
from stream.pipeline.members import Item
from stream.pipeline.metrics import Metrics
from stream.pipeline.slot import END, Policy, Slot
from stream.types import Capture, Frame

HEADS = ("left", "right")


def item(index: int) -> Item:
    frame = Frame(np.zeros((2, 2, 3), np.uint8), time.monotonic(), index, "test")
    return Item(Capture(frame), frame.captured)


def number(taken: object) -> int | None:
    return taken.capture.frame.index if isinstance(taken, Item) else None


def fork_of(policy: Policy) -> tuple[Fork, Metrics]:
    metrics = Metrics()
    for head in HEADS:
        metrics.add_stage(head)
    return Fork(HEADS, policy, metrics), metrics


def test_a_branch_that_waits_alone_gets_nothing_until_the_other_is_free() -> None:
    fork, _ = fork_of("latest")
    left, right = fork.branches
    fork.put(item(0))
    assert left.get(0.01) is None
    assert number(right.get(1)) == 0
    assert number(left.get(1)) == 0


def test_what_was_handed_on_is_taken_after_the_end() -> None:
    fork, _ = fork_of("wait")
    left, right = fork.branches
    fork.put(item(0))
    assert left.get(0.01) is None
    assert number(right.get(1)) == 0
    fork.end()
    assert right.get(1) is END
    right.close()
    assert number(left.get(1)) == 0
    assert left.get(1) is END


def test_a_branch_that_closes_leaves_the_other_working() -> None:
    fork, metrics = fork_of("latest")
    left, right = fork.branches
    left.close()
    assert left.get(1) is END
    assert fork.put(item(3))
    assert number(right.get(1)) == 3
    fork.put(item(4))
    right.close()
    assert fork.put(item(5)) is False
    assert metrics.snapshot()["drops"] == 2


def test_a_writer_that_waits_is_let_go_when_all_branches_close() -> None:
    fork, _ = fork_of("wait")
    fork.put(item(0))
    said: list[bool] = []
    writer = threading.Thread(target=lambda: said.append(fork.put(item(1))))
    writer.start()
    for branch in fork.branches:
        branch.close()
    writer.join(5)
    assert said == [False]


def join_of() -> tuple[Join, Slot[Item]]:
    join, out = Join(2, Metrics()), Slot[Item]("wait")
    join.outputs = [out]
    return join, out


def test_a_join_gives_what_is_whole_and_then_ends() -> None:
    join, out = join_of()
    left, right = join.parts
    left.put(item(0))
    assert out.get(0.01) is None
    right.put(item(0))
    left.put(item(1))
    left.end()
    assert number(out.get(1)) == 0
    right.put(item(1))
    assert number(out.get(1)) == 1
    assert out.get(1) is END
    assert right.put(item(2)) is False


def test_what_one_branch_alone_has_ends_with_the_other() -> None:
    join, out = join_of()
    join.parts[0].put(item(0))
    join.parts[1].end()
    assert out.get(1) is END


@settings(max_examples=15, deadline=None)
@given(pauses=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_racing_branches_give_every_frame_once_and_in_order(pauses: list[tuple[bool, bool]]) -> None:
    fork, metrics = fork_of("wait")
    join, out = join_of()

    def work(which: int) -> None:
        while isinstance(taken := fork.branches[which].get(), Item):
            if pauses[taken.capture.frame.index][which]:
                time.sleep(0.001)
            join.parts[which].put(replace(taken, failed=False))
        join.parts[which].end()

    workers = [threading.Thread(target=work, args=[which]) for which in (0, 1)]
    writer = threading.Thread(target=lambda: [fork.put(item(i)) for i in range(len(pauses))] and fork.end())
    for thread in (*workers, writer):
        thread.start()
    got = []
    while isinstance(taken := out.get(10), Item):
        got.append(number(taken))
    for thread in (*workers, writer):
        thread.join(5)
        assert not thread.is_alive()
    assert got == list(range(len(pauses)))
    assert metrics.snapshot()["drops"] == 0
