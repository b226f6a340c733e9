"""Slots: one item, newest wins or the writer waits, and every item is read or dropped, once."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.pipeline_helpers import on_a_loop

from stream.pipeline.slot import END, Slot


@on_a_loop
async def test_newest_wins_and_the_overwritten_is_dropped() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("latest", dropped.append)
    assert all(slot.put(item) for item in (1, 2, 3))
    assert await slot.get() == 3
    assert dropped == [1, 2]


@on_a_loop
async def test_reader_waits_for_a_write_from_another_thread() -> None:
    slot: Slot[int] = Slot()
    threading.Timer(0.05, slot.put, [7]).start()
    assert await asyncio.wait_for(slot.get(), 5) == 7


@on_a_loop
async def test_end_leaves_the_last_item_to_be_read() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    slot.end()
    assert await slot.get() == 1
    assert await slot.get() is END
    assert await slot.get() is END


@on_a_loop
async def test_end_wakes_a_waiting_reader() -> None:
    slot: Slot[int] = Slot()
    threading.Timer(0.05, slot.end).start()
    assert await asyncio.wait_for(slot.get(), 5) is END


@on_a_loop
async def test_wait_policy_holds_the_writing_thread_until_there_is_room() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("wait", dropped.append)
    writer = threading.Thread(target=lambda: [slot.put(i) for i in range(3)] and slot.end())
    writer.start()
    await asyncio.sleep(0.05)
    assert writer.is_alive()
    assert [await slot.get() for _ in range(4)] == [0, 1, 2, END]
    writer.join(5)
    assert not writer.is_alive()
    assert dropped == []


@on_a_loop
async def test_wait_policy_holds_a_writing_coroutine_without_blocking_the_loop() -> None:
    slot: Slot[int] = Slot("wait")
    await slot.put_async(1)
    second = asyncio.create_task(slot.put_async(2))
    await asyncio.sleep(0.02)
    assert not second.done()
    assert await slot.get() == 1
    assert await asyncio.wait_for(second, 5) is True
    assert await slot.get() == 2


@on_a_loop
async def test_close_discards_releases_and_refuses() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot("wait", dropped.append)
    slot.put(1)
    waiting = asyncio.create_task(slot.put_async(2))
    await asyncio.sleep(0)
    slot.close()
    assert await asyncio.wait_for(waiting, 5) is False
    assert slot.put(3) is False
    assert await slot.get() is END
    assert dropped == [1, 2, 3]


@on_a_loop
async def test_close_releases_a_writing_thread() -> None:
    slot: Slot[int] = Slot("wait")
    slot.put(1)
    writer = threading.Thread(target=slot.put, args=[2])
    writer.start()
    slot.close()
    writer.join(5)
    assert not writer.is_alive()


@on_a_loop
async def test_a_cancelled_reader_loses_nothing() -> None:
    slot: Slot[int] = Slot()
    reader = asyncio.create_task(slot.get())
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    slot.put(5)
    assert await slot.get() == 5


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.sampled_from(["put", "get"]), max_size=40), ended=st.booleans())
def test_any_interleaving_accounts_for_every_item(steps: list[str], ended: bool) -> None:
    """Against a model: what is read plus what is dropped is what was put, in order, each once."""
    dropped: list[int] = []
    read: list[int] = []

    async def play() -> None:
        slot: Slot[int] = Slot("latest", dropped.append)
        held: int | None = None
        for number, step in enumerate(steps):
            if step == "put":
                slot.put(number)
                held = number
            elif held is not None:
                assert await slot.get() == held
                read.append(held)
                held = None
        if ended:
            slot.end()
            while (item := await slot.get()) is not END:
                read.append(item)
        slot.close()

    asyncio.run(play())
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

    async def play() -> None:
        slot: Slot[int] = Slot(policy, dropped.append)  # type: ignore[arg-type]

        def write() -> None:
            for item in range(count):
                if writer_pauses[item]:
                    time.sleep(0.0005)
                slot.put(item)
            slot.end()

        writer = threading.Thread(target=write)
        writer.start()
        while (item := await asyncio.wait_for(slot.get(), 10)) is not END:
            read.append(item)
            if pauses.random() < 0.1:
                await asyncio.sleep(0.001)
        writer.join(5)

    asyncio.run(play())
    assert sorted(read + dropped) == list(range(count))
    assert read == sorted(read)
    assert read[-1] == count - 1
    if policy == "wait":
        assert dropped == []
