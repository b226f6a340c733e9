"""Where branches of a pipeline part and meet.

A fork takes one decision for all of its branches: it hands an item on when every branch is free for it, so
that all get the same frames, and it is there that frames are dropped. Behind it nothing is dropped until the
sinks: each branch passes on every item that it got, one that failed as well, so that a join has just to take
one from each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stream.pipeline.members import Item
from stream.pipeline.metrics import Metrics
from stream.pipeline.slot import END, End, Inlet, Policy
from stream.types import FIELDS, Capture, Person


class Fork:
    """An `Inlet` that hands the newest item to all branches at once, when all are free for it.

    :param heads: names of the stages that the branches begin with.
    :param policy: what happens to an item that comes while they are not.
    :ivar branches: where each of them takes its items.
    """

    def __init__(self, heads: Sequence[str], policy: Policy, metrics: Metrics) -> None:
        self.changed = threading.Condition()
        self.branches = [Branch(self, head) for head in heads]
        self._policy, self._metrics = policy, metrics
        self._waiting: list[Item] = []
        self._ended = False

    def put(self, item: Item) -> bool:
        """See `Inlet`. A drop counts as one frame, not one a branch: at the one that all waited for."""
        with self.changed:
            while self._policy == "wait" and self._waiting and not self.closed:
                self.changed.wait()
            late = next((branch for branch in self.branches if not branch.free), self.branches[0])
            lost, self._waiting = [item] if self.closed else self._waiting, [item]
            self.hand_on()
        self._metrics.drop(late.head, len(lost))
        return not self.closed

    def end(self) -> None:
        """See `Inlet`."""
        with self.changed:
            self._ended = True
            self.changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no branch takes anything any more."""
        return all(branch.closed for branch in self.branches)

    @property
    def done(self) -> bool:
        """Whether nothing more will be handed on."""
        return self._ended and not self._waiting

    def hand_on(self) -> None:
        """Give the waiting item to all branches if they are free; with `changed` held."""
        open_ones = [branch for branch in self.branches if not branch.closed]
        if self._waiting and open_ones and all(branch.free for branch in open_ones):
            item = self._waiting.pop()
            for branch in open_ones:
                branch.item, branch.free = item, False
            self.changed.notify_all()

    def lose(self, branch: Branch) -> None:
        """Count what a branch that was closed will not take, and what waits where it was the last; with
        `changed` held."""
        self._metrics.drop(branch.head, int(branch.item is not None))
        if self.closed:
            self._metrics.drop(branch.head, len(self._waiting))
            self._waiting = []
        self.changed.notify_all()


class Branch:
    """The `Outlet` of a fork from which one of its branches takes.

    :ivar head: name of the stage that takes.
    :ivar item: handed on, not yet taken.
    :ivar free: the stage waits for its next item.
    """

    def __init__(self, fork: Fork, head: str) -> None:
        self.head = head
        self.item: Item | None = None
        self.free = self.closed = False
        self._fork = fork

    def get(self, timeout: float | None = None) -> Item | End | None:
        """See `Outlet`."""
        fork = self._fork
        with fork.changed:
            if self.item is None and not self.closed:
                self.free = True
                fork.hand_on()
                fork.changed.wait_for(lambda: self.item or self.closed or fork.done, timeout)
            item, self.item = self.item, None
            return item or (END if self.closed or fork.done else None)

    def close(self) -> None:
        """See `Outlet`; the other branches go on."""
        with self._fork.changed:
            if not self.closed:
                self.closed = True
                self._fork.lose(self)
                self.item = None


class Join:
    """Puts together what several branches made of one frame, on the thread of the last that comes.

    :param branches: how many.
    :ivar parts: where each branch puts its items.
    :ivar outputs: where the whole goes.
    :ivar ends: the output whose latency ends here, if any.
    """

    def __init__(self, branches: int, metrics: Metrics) -> None:
        self.parts = [Part(self) for _ in range(branches)]
        self.outputs: list[Inlet[Item]] = []
        self.ends: str | None = None
        self.forwards_failures = True
        self.changed = threading.Condition()
        self.closed = False
        self._metrics = metrics
        self._handing_on = self._ended = False

    def complete(self) -> None:
        """Hand on the whole if all parts are there, or say that there will be none; on a branch's thread."""
        with self.changed:
            items = [part.item for part in self.parts if part.item is not None]
            whole = len(items) == len(self.parts) and not self._handing_on
            if whole:
                self._handing_on = True
                for part in self.parts:
                    part.item = None
                self.changed.notify_all()
        if whole:
            self._hand_on(joined(items))
        self._end_if_done()

    def close(self) -> None:
        """Discard what waits and release who writes; from any thread."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _hand_on(self, whole: Item) -> None:
        if self.ends is not None and not whole.failed:
            self._metrics.latency(self.ends, time.monotonic() - whole.started)
        if not whole.failed or self.forwards_failures:
            for inlet in self.outputs:
                inlet.put(whole)
        with self.changed:
            self._handing_on = False

    def _end_if_done(self) -> None:
        with self.changed:
            lacking = any(part.ended and part.item is None for part in self.parts)
            ending = lacking and not (self._handing_on or self._ended)
            if ending:
                self._ended = self.closed = True
                self.changed.notify_all()
        if ending:
            for inlet in self.outputs:
                inlet.end()


class Part:
    """The `Inlet` of a join into which one branch puts.

    :ivar item: put, not yet joined.
    :ivar ended: no item follows.
    """

    def __init__(self, join: Join) -> None:
        self.item: Item | None = None
        self.ended = False
        self._join = join

    def put(self, item: Item) -> bool:
        """See `Inlet`."""
        join = self._join
        with join.changed:
            join.changed.wait_for(lambda: self.item is None or join.closed)
            if join.closed:
                return False
            self.item = item
        join.complete()
        return not join.closed

    def end(self) -> None:
        """See `Inlet`."""
        with self._join.changed:
            self.ended = True
        self._join.complete()


def joined(items: Sequence[Item]) -> Item:
    """One item of what the branches made of the same frame; without what a branch that failed should have.

    It has failed itself where all have.
    """
    sound = [item for item in items if not item.failed]
    if not sound:
        return items[0]
    captures = [item.capture for item in sound]
    first = captures[0]
    steps: dict[str, float] = {}
    for capture in captures:
        steps.update(capture.steps)
    whole = replace(
        first,
        people=_together(captures),
        known=frozenset().union(*(capture.known for capture in captures)),
        steps=steps,
        picture=next((capture.picture for capture in captures if capture.picture is not None), None),
    )
    return replace(sound[0], capture=whole)


def _together(captures: Iterable[Capture]) -> tuple[Person, ...]:
    """Everybody with all that any of the captures knows of them; no branch leaves anybody out."""
    return tuple(map(_all_known, zip(*(capture.people for capture in captures), strict=True)))


def _all_known(same: Sequence[Person]) -> Person:
    """One person of what several captures know of it."""
    known = {name: value for one in same for name in FIELDS if (value := getattr(one, name)) is not None}
    return replace(same[0], **known)
