"""A slot of one between two stages: what keeps the pipeline from ever queueing."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, Literal, TypeVar

Policy = Literal["latest", "wait"]
"""``latest``: the newest item wins, live. ``wait``: the writer waits, offline, and nothing is lost."""

ItemT = TypeVar("ItemT")


class End(enum.Enum):
    """The type of `END`; an enum so that type checkers can tell it from items."""

    END = "end"


END: Final = End.END
"""What `Slot.get` gives once the writer has ended and everything was read, or the slot was closed."""


class Slot(Generic[ItemT]):
    """Holds at most one item on its way from one writer to one reader.

    The writer may live on any thread (`put`) or on the reader's event loop (`put_async`); the reader is a
    coroutine. There is one of each.

    :ivar policy: what a write to a full slot does; set before the first one.
    :param on_drop: called, on the thread that caused it and outside the lock, for every item that was put
        but never will be read: overwritten, discarded by `close`, or written after it.
    """

    def __init__(self, policy: Policy = "latest", on_drop: Callable[[ItemT], None] | None = None) -> None:
        self.policy = policy
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._items: list[ItemT] = []
        self._ended = False
        self._closed = False
        self._reader: Future[None] | None = None
        self._writer: Future[None] | None = None

    def put(self, item: ItemT) -> bool:
        """Write from any thread but the event loop's; with ``wait`` it blocks until there is room.

        :returns: False once the slot is closed: stop writing.
        """
        while room := self._offer(item):
            room.result()
        return not self._closed

    async def put_async(self, item: ItemT) -> bool:
        """Write from the event loop; as `put`, without blocking the loop."""
        while room := self._offer(item):
            await asyncio.wrap_future(room)
        return not self._closed

    async def get(self) -> ItemT | End:
        """Take the item, waiting for one; `END` when there will be none."""
        while True:
            with self._lock:
                if self._items:
                    item = self._items.pop()
                    _wake(self._writer)
                    return item
                if self._ended or self._closed:
                    return END
                self._reader = waiting = _waiter()
            await asyncio.wrap_future(waiting)

    def end(self) -> None:
        """Say, from any thread, that no item will follow; the one in the slot can still be read."""
        with self._lock:
            self._ended = True
            _wake(self._reader)

    def close(self) -> None:
        """Discard the item, release reader and writer, and refuse every later item; from any thread."""
        with self._lock:
            self._closed = True
            discarded = self._items
            self._items = []
            _wake(self._reader)
            _wake(self._writer)
        self._drop(discarded)

    def _offer(self, item: ItemT) -> Future[None] | None:
        """Store the item, or give what to wait for before offering it again."""
        lost: list[ItemT] = []
        with self._lock:
            if self._closed:
                lost = [item]
            elif self._items and self.policy == "wait":
                self._writer = room = _waiter()
                return room
            else:
                lost, self._items = self._items, [item]
                _wake(self._reader)
        self._drop(lost)
        return None

    def _drop(self, items: list[ItemT]) -> None:
        if self._on_drop is not None:
            for item in items:
                self._on_drop(item)


def _waiter() -> Future[None]:
    """A future both a thread and a coroutine can wait for, and that cancelling the coroutine leaves alone."""
    waiting: Future[None] = Future()
    waiting.set_running_or_notify_cancel()
    return waiting


def _wake(waiting: Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
