"""Tests of a network's gaps on a machine that may itself stand still for a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

ResultT = TypeVar("ResultT")

TICK = 0.02
LATE = 0.3
"""Seconds that the event loop may be late in all before a run does not count."""

TRIES = 4


def undisturbed(work: Callable[[], Coroutine[None, None, ResultT]]) -> ResultT:
    """What a run gives during which this process was not held up; the last one's where none is such."""

    async def watched() -> tuple[ResultT, float]:
        late = 0.0

        async def tick() -> None:
            nonlocal late
            while True:
                due = time.monotonic() + TICK
                await asyncio.sleep(TICK)
                late += max(0.0, time.monotonic() - due - TICK)

        ticking = asyncio.create_task(tick())
        try:
            return await work(), late
        finally:
            ticking.cancel()

    for _ in range(TRIES):
        result, late = asyncio.run(watched())
        if late < LATE:
            break
        print(f"held up for {late:.1f} s")
    return result
