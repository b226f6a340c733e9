"""How the members of a pipeline are connected: in a row, or in branches that part and meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream.pipeline.branches import Fork, Join
from stream.pipeline.members import Item, SourceMember, StageMember
from stream.pipeline.metrics import CHAIN, Metrics
from stream.pipeline.slot import Inlet, Policy


class Wiring:
    """Connects the members' inlets and outlets as it is made.

    :param chain: every stage behind those that it comes after.
    :param after: by a stage's name, those whose results it takes; nothing for the source's.
    :param policy: of what comes to a stage; behind a fork everything waits.
    :ivar joins: to be closed with the members.
    """

    def __init__(
        self,
        reader: SourceMember,
        chain: Sequence[StageMember],
        sinks: Sequence[StageMember],
        after: Mapping[str, Sequence[str]],
        policy: Policy,
        metrics: Metrics,
    ) -> None:
        self.joins: list[Join] = []
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
        policy: Policy = "wait" if member.name in self._forked else self._policy
        if len(followers) > 1:
            self._part(member, followers, policy)
        elif followers:
            (follower,) = followers
            if member.name in self._forked:
                self._forked.add(follower.name)
            if len(self._before[follower.name]) == 1:
                member.outputs = [follower.take_from_slot(policy)]
            else:
                self._to_join(member, follower)
        if isinstance(member, StageMember):
            member.forwards_failures = member.name in self._forked

    def _part(
        self, member: SourceMember | StageMember, followers: Sequence[StageMember], policy: Policy
    ) -> None:
        fork = Fork([follower.name for follower in followers], policy, self._metrics)
        member.outputs = [fork]
        for follower, branch in zip(followers, fork.branches, strict=True):
            follower.outlet = branch
            self._forked.add(follower.name)

    def _to_join(self, member: SourceMember | StageMember, follower: StageMember) -> None:
        """Connect one of several members that a stage comes after; the first of them brings the join."""
        before = self._before[follower.name]
        if member is before[0]:
            join = self._join(before)
            join.outputs = [
                follower.take_from_slot("wait" if follower.name in self._forked else self._policy)
            ]

    def _join(self, branches: Sequence[SourceMember | StageMember]) -> Join:
        join = Join(len(branches), self._metrics)
        for one, part in zip(branches, join.parts, strict=True):
            one.outputs = [part]
        self.joins.append(join)
        return join

    def _finish(self, leaves: Sequence[SourceMember | StageMember], sinks: Sequence[StageMember]) -> None:
        """Connect the ends of all branches to all sinks."""
        slots: list[Inlet[Item]] = [sink.take_from_slot(self._policy) for sink in sinks]
        for sink in sinks:
            sink.ends = sink.name
        if len(leaves) == 1:
            (leaf,) = leaves
            leaf.outputs, leaf.ends = slots, CHAIN
            if isinstance(leaf, StageMember):
                leaf.forwards_failures = False
            return
        join = self._join(leaves)
        join.outputs, join.ends, join.forwards_failures = slots, CHAIN, False
