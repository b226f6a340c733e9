"""How the members of a pipeline are connected: chains, forks where branches part, joins where they meet.

A fork takes one decision for all of its branches: it hands an item on when every branch is free for it, so
that all get the same frames, and it is there that frames are dropped. Behind it nothing is dropped until the
sinks: each branch passes on every item that it got, one that failed as well, so that a join has just to take
one from each.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from stream.pipeline.members import Item, SourceMember, StageMember
from stream.pipeline.metrics import CHAIN, Metrics
from stream.pipeline.slot import END, Policy, Slot
from stream.types import FIELDS, Capture, Person


class Connector(Protocol):
    """A fork or a join; lives on the event loop."""

    async def run(self) -> None:
        """Move items until there are no more."""

    def close(self) -> None:
        """Let go of all that waits."""


class Fork:
    """Hands the newest item to all branches at once, when all are free.

    :param policy: what happens to an item that comes while they are not.
    """

    def __init__(self, heads: Sequence[StageMember], policy: Policy, metrics: Metrics) -> None:
        self._heads, self._metrics = heads, metrics
        self.slot: Slot[Item] = Slot(policy, self._dropped)

    async def run(self) -> None:
        """See `Connector`."""
        try:
            while True:
                for head in self._heads:
                    await head.free.wait()
                item = await self.slot.get()
                if item is END:
                    return
                for head in self._heads:
                    head.free.clear()
                    await head.slot.put_async(item)
        finally:
            self.slot.close()
            for head in self._heads:
                head.slot.end()

    def close(self) -> None:
        """See `Connector`."""
        self.slot.close()

    def _dropped(self, item: Item) -> None:
        """Count one frame, not one for each branch: at the one that all waited for."""
        busy = (head for head in self._heads if not head.free.is_set())
        self._metrics.drop(next(busy, self._heads[0]).name)


class Join:
    """Puts together what several branches made of one frame.

    :param branches: how many.
    :ivar parts: where each branch puts its items.
    :ivar outputs: where the whole goes.
    :ivar ends: the output whose latency ends here, if any.
    """

    def __init__(self, branches: int, metrics: Metrics) -> None:
        self.parts: list[Slot[Item]] = [Slot("wait") for _ in range(branches)]
        self.outputs: list[Slot[Item]] = []
        self.ends: str | None = None
        self.forwards_failures = True
        self._metrics = metrics

    async def run(self) -> None:
        """See `Connector`."""
        try:
            while True:
                items = []
                for part in self.parts:
                    item = await part.get()
                    if item is END:
                        return
                    items.append(item)
                whole = joined(items)
                if self.ends is not None and not whole.failed:
                    self._metrics.latency(self.ends, time.monotonic() - whole.started)
                if not whole.failed or self.forwards_failures:
                    for slot in self.outputs:
                        await slot.put_async(whole)
        finally:
            self.close()
            for slot in self.outputs:
                slot.end()

    def close(self) -> None:
        """See `Connector`."""
        for part in self.parts:
            part.close()


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


def connect(
    reader: SourceMember,
    chain: Sequence[StageMember],
    sinks: Sequence[StageMember],
    after: Mapping[str, Sequence[str]],
    policy: Policy,
    metrics: Metrics,
) -> list[Connector]:
    """Wire the members' slots.

    :param chain: every stage behind those that it comes after.
    :param after: by a stage's name, those whose results it takes; nothing for the source's.
    :param policy: of what comes to a stage; behind a fork everything waits.
    :returns: the forks and joins, to be run beside the members.
    """
    return _Wiring(reader, chain, sinks, after, policy, metrics).connectors


class _Wiring:
    def __init__(
        self,
        reader: SourceMember,
        chain: Sequence[StageMember],
        sinks: Sequence[StageMember],
        after: Mapping[str, Sequence[str]],
        policy: Policy,
        metrics: Metrics,
    ) -> None:
        self.connectors: list[Connector] = []
        self._policy, self._metrics = policy, metrics
        self._forked: set[str] = set()
        self._chain = chain
        sources: list[SourceMember | StageMember] = [reader, *chain]
        self._before = {
            member.name: [one for one in sources if one.name in (after.get(member.name) or (reader.name,))]
            for member in chain
        }
        for member in sources:
            self._hand_on(member)
        leaves = [member for member in sources if not self._followers(member)]
        self._finish(leaves, sinks)

    def _followers(self, member: SourceMember | StageMember) -> list[StageMember]:
        return [one for one in self._chain if member in self._before[one.name]]

    def _hand_on(self, member: SourceMember | StageMember) -> None:
        """Connect a member to what comes after it; its own input is connected already."""
        followers = self._followers(member)
        if len(followers) > 1:
            fork = Fork(followers, self._policy_behind(member), self._metrics)
            member.outputs = [fork.slot]
            self.connectors.append(fork)
            self._forked.update(follower.name for follower in followers)
        elif followers:
            (follower,) = followers
            follower_policy = self._policy_behind(member)
            if member.name in self._forked:
                self._forked.add(follower.name)
            if len(self._before[follower.name]) == 1:
                follower.slot.policy = follower_policy
                member.outputs = [follower.slot]
            else:
                self._to_join(member, follower)
        for follower in followers:
            if follower.name in self._forked:
                follower.slot.policy = "wait"
        if isinstance(member, StageMember):
            member.forwards_failures = member.name in self._forked

    def _policy_behind(self, member: SourceMember | StageMember) -> Policy:
        return "wait" if member.name in self._forked else self._policy

    def _to_join(self, member: SourceMember | StageMember, follower: StageMember) -> None:
        """Connect one of several members that a stage comes after; the last of them brings the join."""
        before = self._before[follower.name]
        if member is before[0]:
            join = Join(len(before), self._metrics)
            join.outputs = [follower.slot]
            self.connectors.append(join)
            for one, part in zip(before, join.parts, strict=True):
                one.outputs = [part]

    def _finish(self, leaves: Sequence[SourceMember | StageMember], sinks: Sequence[StageMember]) -> None:
        """Connect the ends of all branches to all sinks."""
        slots = [sink.slot for sink in sinks]
        for sink in sinks:
            sink.ends = sink.name
        if len(leaves) == 1:
            (leaf,) = leaves
            leaf.outputs, leaf.ends = slots, CHAIN
            if isinstance(leaf, StageMember):
                leaf.forwards_failures = False
            return
        join = Join(len(leaves), self._metrics)
        join.outputs, join.ends, join.forwards_failures = slots, CHAIN, False
        for leaf, part in zip(leaves, join.parts, strict=True):
            leaf.outputs = [part]
        self.connectors.append(join)
