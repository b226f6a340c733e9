"""Slots: one item, newest wins or the writer waits, and every item is read or dropped, once."""

from __future__ import annotations

import random
import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.pipeline.slot import END, Slot


def test_newest_wins_and_the_overwritten_is_dropped() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("latest", dropped.append)
    assert all(slot.put(item) for item in (1, 2, 3))
    assert slot.get() == 3
    assert dropped == [1, 2]


def test_reader_waits_for_a_write_from_another_thread() -> None:
    slot: Slot[int] = Slot()
    threading.Timer(0.05, slot.put, [7]).start()
    assert slot.get(5) == 7


def test_end_leaves_the_last_item_to_be_read() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    slot.end()
    assert slot.get() == 1
    assert slot.get() is END
    assert slot.get() is END


def test_end_wakes_a_waiting_reader() -> None:
    slot: Slot[int] = Slot()
    threading.Timer(0.05, slot.end).start()
    assert slot.get(5) is END


def test_wait_policy_holds_the_writing_thread_until_there_is_room() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("wait", dropped.append)
    writer = threading.Thread(target=lambda: [slot.put(i) for i in range(3)] and slot.end())
    writer.start()
    time.sleep(0.05)
    assert writer.is_alive()
    assert [slot.get() for _ in range(4)] == [0, 1, 2, END]
    writer.join(5)
    assert not writer.is_alive()
    assert dropped == []


def test_close_discards_releases_and_refuses() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("wait", dropped.append)
    slot.put(1)
    waiting: list[bool] = []
    writer = threading.Thread(target=lambda: waiting.append(slot.put(2)))
    writer.start()
    time.sleep(0.02)
    slot.close()
    writer.join(5)
    assert waiting == [False]
    assert slot.put(3) is False
    assert slot.get() is END
    assert sorted(dropped) == [1, 2, 3]


def test_close_releases_a_writing_thread() -> None:
    slot: Slot[int] = Slot("wait")
    slot.put(1)
    writer = threading.Thread(target=slot.put, args=[2])
    writer.start()
    slot.close()
    writer.join(5)
    assert not writer.is_alive()


def test_a_reader_that_waited_long_enough_gets_nothing_and_loses_nothing() -> None:
    slot: Slot[int] = Slot()
    assert slot.get(0.01) is None
    slot.put(5)
    assert slot.get(0.01) == 5


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.sampled_from(["put", "get"]), max_size=40), ended=st.booleans())
def test_any_interleaving_accounts_for_every_item(steps: list[str], ended: bool) -> None:
    """Against a model: what is read plus what is dropped is what was put, in order, each once."""
    dropped: list[int] = []
    read: list[int] = []

    def play() -> None:
        slot: Slot[int] = Slot("latest", dropped.append)
        held: int | None = None
        for number, step in enumerate(steps):
            if step == "put":
                slot.put(number)
                held = number
            elif held is not None:
                assert slot.get() == held
                read.append(held)
                held = None
        if ended:
            slot.end()
            while isinstance(item := slot.get(), int):
                read.append(item)
        slot.close()

    play()
    offered = [number for number, step in enumerate(steps) if step == "put"]
    assert sorted(read + dropped) == offered
    assert read == sorted(read)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), policy=st.sampled_from(["latest", "wait"]))
def test_racing_threads_account_for_every_item(seed: int, policy: str) -> None:
    """A writing thread and a reading loop, each pausing at random."""
    count = 200
    dropped: list[int] = []
    read: list[int] = []
    pauses = random.Random(seed)
    writer_pauses = [pauses.random() < 0.1 for _ in range(count)]

    def play() -> None:
        slot: Slot[int] = Slot(policy, dropped.append)  # type: ignore[arg-type]

        def write() -> None:
            for item in range(count):
                if writer_pauses[item]:
                    time.sleep(0.0005)
                slot.put(item)
            slot.end()

        writer = threading.Thread(target=write)
        writer.start()
        while isinstance(item := slot.get(10), int):
            read.append(item)
            if pauses.random() < 0.1:
                time.sleep(0.001)
        writer.join(5)

    play()
    assert sorted(read + dropped) == list(range(count))
    assert read == sorted(read)
    assert read[-1] == count - 1
    if policy == "wait":
        assert dropped == []
