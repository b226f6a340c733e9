"""A slot of one between two stages: what keeps the pipeline from ever queueing."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import Final, Generic, Literal, Protocol, TypeVar

Policy = Literal["latest", "wait"]
"""``latest``: the newest item wins, live. ``wait``: the writer waits, offline, and nothing is lost."""

ItemT = TypeVar("ItemT")
OutT = TypeVar("OutT", covariant=True)
InT = TypeVar("InT", contravariant=True)


class End(enum.Enum):
    """The type of `END`; an enum so that type checkers can tell it from items."""

    END = "end"


END: Final = End.END
"""What reading gives once the writer has ended and everything was read, or the slot was closed."""


class Inlet(Protocol[InT]):
    """Where a thread puts its items."""

    def put(self, item: InT) -> bool:
        """Write; under ``wait`` it blocks until there is room. False once closed: stop writing."""

    def end(self) -> None:
        """Say that no item will follow; what was put can still be read."""


class Outlet(Protocol[OutT]):
    """Where a thread takes its items."""

    def get(self, timeout: float | None = None) -> OutT | End | None:
        """Take the next item, waiting for one; None where none came in that many seconds, `END` when there
        will be none."""

    def close(self) -> None:
        """Discard what waits, release reader and writer, and refuse every later item; from any thread."""


class Slot(Generic[ItemT]):
    """Holds at most one item on its way from one writing thread to one reading thread: both an `Inlet` and an
    `Outlet`.

    :ivar policy: what a write to a full slot does; set before the first one.
    :param on_drop: called, on the thread that caused it and outside the lock, for every item that was put
        but never will be read: overwritten, discarded by `close`, or written after it.
    """

    def __init__(self, policy: Policy = "latest", on_drop: Callable[[ItemT], None] | None = None) -> None:
        self.policy = policy
        self._on_drop = on_drop
        self._changed = threading.Condition()
        self._items: list[ItemT] = []
        self._ended = False
        self._closed = False

    def put(self, item: ItemT) -> bool:
        """See `Inlet`."""
        with self._changed:
            while self.policy == "wait" and self._items and not self._closed:
                self._changed.wait()
            if self._closed:
                lost = [item]
            else:
                lost, self._items = self._items, [item]
                self._changed.notify_all()
            taken = not self._closed
        self._drop(lost)
        return taken

    def get(self, timeout: float | None = None) -> ItemT | End | None:
        """See `Outlet`."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._closed, timeout)
            if self._items:
                self._changed.notify_all()
                return self._items.pop()
            return END if self._ended or self._closed else None

    def end(self) -> None:
        """See `Inlet`; from any thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """See `Outlet`."""
        with self._changed:
            self._closed = True
            discarded, self._items = self._items, []
            self._changed.notify_all()
        self._drop(discarded)

    def _drop(self, items: list[ItemT]) -> None:
        if self._on_drop is not None:
            for item in items:
                self._on_drop(item)
