"""A source and stages whose behaviour the tests choose."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from stream.types import Capture, Frame

TINY = np.zeros((2, 2, 3), np.uint8)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class ListSource:
    """Gives ``count`` tiny frames; None for an endless stream; ``indices`` instead says which."""

    name = "list"
    rate: float | None = None

    def __init__(
        self,
        count: int | None = 10,
        *,
        paced: bool = False,
        every: float = 0.0,
        indices: list[int] | None = None,
        open_error: Exception | None = None,
        read_error: Exception | None = None,
    ) -> None:
        self.paced = paced
        self.closed = 0
        self._indices = indices
        self._count = len(indices) if indices is not None else count
        self._every = every
        self._open_error = open_error
        self._read_error = read_error
        self._next = 0
        self._interrupted = threading.Event()

    def open(self) -> None:
        if self._open_error:
            raise self._open_error

    def read(self) -> Frame | None:
        self._interrupted.wait(self._every)
        if self._interrupted.is_set():
            return None
        if self._next == self._count:
            if self._read_error:
                raise self._read_error
            return None
        index = self._indices[self._next] if self._indices is not None else self._next
        self._next += 1
        return Frame(TINY, time.monotonic(), index, self.name)

    def interrupt(self) -> None:
        self._interrupted.set()

    def close(self) -> None:
        self.closed += 1


class FakeStage:
    """Notes which frames it saw and on which threads it was called."""

    def __init__(
        self,
        name: str = "stage",
        work: Callable[[Capture], Capture | None] = lambda capture: capture,
        *,
        open_error: Exception | None = None,
        on_open: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.seen: list[int] = []
        self.captures: list[Capture] = []
        self.threads: set[str] = set()
        self.opened = self.closed = 0
        self._work = work
        self._open_error = open_error
        self._on_open = on_open
        self._on_close = on_close

    def open(self) -> None:
        self._note()
        self.opened += 1
        self._on_open()
        if self._open_error:
            raise self._open_error

    def __call__(self, capture: Capture) -> Capture | None:
        self._note()
        self.seen.append(capture.frame.index)
        result = self._work(capture)
        self.captures.append(capture)
        return result

    def close(self) -> None:
        self._note()
        self.closed += 1
        self._on_close()

    def _note(self) -> None:
        self.threads.add(threading.current_thread().name)


class IdleStage(FakeStage):
    """Notes when it idled, and after how many captures."""

    def __init__(
        self,
        name: str,
        work: Callable[[Capture], Capture | None] = lambda capture: capture,
        *,
        on_idle: Callable[[], None] = lambda: None,
        holds: bool = False,
    ) -> None:
        super().__init__(name, work)
        self.holds = holds
        self.idled: list[float] = []
        self.idled_after: list[int] = []
        self._on_idle = on_idle

    def idle(self) -> None:
        self._note()
        self.idled.append(time.monotonic())
        self.idled_after.append(len(self.seen))
        self._on_idle()


def sleeping(seconds: float) -> Callable[[Capture], Capture]:
    """Work that takes this long."""

    def work(capture: Capture) -> Capture:
        time.sleep(seconds)
        return capture

    return work


def failing_on(*indices: int) -> Callable[[Capture], Capture]:
    """Work that raises on these frames."""

    def work(capture: Capture) -> Capture:
        if capture.frame.index in indices:
            raise ValueError(f"frame {capture.frame.index} is bad")
        return capture

    return work


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Give other threads that long to make it true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
