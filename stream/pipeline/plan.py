"""Which nodes work out what is wanted of a frame, and in which order: a plan, as plain data.

A `Node` says what it needs, what it gives, where it runs and whether it can run here; `plan` picks one
producer for each thing that is wanted. Names of things are the fields of `stream.types.Person`, ``frame``,
and ``picture`` (what was drawn). The plan says why each node was taken or left out; it can be printed,
compared with what ran, and sent to another process (`Plan.to_dict`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stream.errors import BackendError, ConfigError

FRAME = "frame"
"""What every source gives."""

Place = Literal["host", "gpu"]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a node would run here.

    :ivar backend, model: what runs it, where there is a choice.
    :ivar why: why it can or cannot run so, as a phrase.
    """

    runs: bool
    why: str
    backend: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One way to work something out.

    :ivar name: of the stage it makes; unique among all nodes.
    :ivar choose: looks, without opening anything, whether and how it can run here.
    """

    name: str
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    place: Place
    choose: Callable[[], Choice]


@dataclass(frozen=True, slots=True)
class Step:
    """A node of a plan.

    :ivar after: names of the steps whose results it needs; none where the source gives all.
    """

    name: str
    place: Place
    needs: tuple[str, ...]
    gives: tuple[str, ...]
    after: tuple[str, ...]
    backend: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A node that has no place in a plan, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs, every step behind those that it needs.

    :ivar wanted: what may be wanted of it.
    :ivar given: what comes with the source.
    """

    wanted: tuple[str, ...]
    given: tuple[str, ...]
    steps: tuple[Step, ...]
    left_out: tuple[LeftOut, ...] = ()

    def steps_for(self, wanted: Iterable[str]) -> frozenset[str]:
        """Names of the steps that must run where this, of what the plan was made for, is wanted."""
        producers = {thing: step for step in self.steps for thing in step.gives}
        running: set[str] = set()
        open_things = [thing for thing in wanted if thing in producers]
        while open_things:
            step = producers[open_things.pop()]
            if step.name not in running:
                running.add(step.name)
                open_things += [thing for thing in step.needs if thing in producers]
        return frozenset(running)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        :raises ConfigError: the values are not a plan's.
        """
        try:
            steps = tuple(
                Step(**{**step, **{name: tuple(step[name]) for name in ("needs", "gives", "after")}})
                for step in values["steps"]
            )
            left_out = tuple(LeftOut(**node) for node in values["left_out"])
            return Plan(tuple(values["wanted"]), tuple(values["given"]), steps, left_out)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"These values are no plan ({error}); give what Plan.to_dict wrote.") from error


def plan(wanted: Collection[str], nodes: Sequence[Node], given: Collection[str] = ()) -> Plan:
    """The steps that work out all that is wanted.

    :param nodes: the first that can run and gives a thing is its producer; one that gives several things
        gives all of them.
    :param given: what the source's captures hold already.
    :raises BackendError: nothing that can run here gives a thing that is wanted; the message says why.
    """
    return _Planner(nodes, given).plan(wanted)


class _Planner:
    """Goes from what is wanted to what it needs, until everything is given."""

    def __init__(self, nodes: Sequence[Node], given: Collection[str]) -> None:
        self._nodes = nodes
        self._given = {FRAME, *given}
        self._choices: dict[str, Choice] = {}
        self._producers: dict[str, Node] = {}

    def plan(self, wanted: Collection[str]) -> Plan:
        for thing in wanted:
            self._produce(thing, thing)
        chosen = {node.name: node for node in self._producers.values()}
        steps = tuple(self._step(chosen[name]) for name in self._order(chosen))
        left_out = tuple(self._left_out(node) for node in self._nodes if node.name not in chosen)
        given = tuple(sorted(self._given - {FRAME}))
        return Plan(tuple(sorted(wanted)), given, steps, left_out)

    def _produce(self, thing: str, wanted: str) -> None:
        if thing in self._given or thing in self._producers:
            return
        makers = [node for node in self._nodes if thing in node.gives]
        node = next((node for node in makers if self._choice(node).runs), None)
        if node is None:
            reasons = " ".join(f"{node.name}: {self._choice(node).why}" for node in makers)
            raise BackendError(f"Nothing here gives {thing}, which {wanted} needs. {reasons}".rstrip())
        for one in node.gives:
            self._producers.setdefault(one, node)
        for need in node.needs:
            self._produce(need, wanted)

    def _choice(self, node: Node) -> Choice:
        if node.name not in self._choices:
            self._choices[node.name] = node.choose()
        return self._choices[node.name]

    def _order(self, chosen: Mapping[str, Node]) -> list[str]:
        """Every node behind those it needs, else in the order of the nodes."""
        done: list[str] = []
        while len(done) < len(chosen):
            ready = [
                node.name
                for node in self._nodes
                if node.name in chosen
                and node.name not in done
                and {other.name for other in self._needed(node)} <= set(done)
            ]
            if not ready:
                raise ConfigError(f"These nodes need each other: {', '.join(set(chosen) - set(done))}.")
            done.append(ready[0])
        return done

    def _after(self, node: Node) -> tuple[str, ...]:
        """The nodes it comes after, without those that another of them comes after already."""
        needed = self._needed(node)
        earlier = {one.name for other in needed for one in self._before(other)}
        return tuple(other.name for other in needed if other.name not in earlier)

    def _needed(self, node: Node) -> list[Node]:
        makers = [self._producers[need] for need in node.needs if need not in self._given]
        return list({maker.name: maker for maker in makers}.values())

    def _before(self, node: Node) -> list[Node]:
        """All nodes whose results it builds on."""
        return [one for other in self._needed(node) for one in (other, *self._before(other))]

    def _step(self, node: Node) -> Step:
        choice = self._choice(node)
        return Step(
            node.name, node.place, node.needs, node.gives, self._after(node), choice.backend, choice.model,
            choice.why,
        )  # fmt: skip

    def _left_out(self, node: Node) -> LeftOut:
        choice = self._choices.get(node.name)
        if choice is not None and not choice.runs:
            return LeftOut(node.name, choice.why)
        if set(node.gives) <= self._given:
            return LeftOut(node.name, "the source gives it")
        if any(thing in self._producers for thing in node.gives):
            return LeftOut(node.name, "another node gives it")
        return LeftOut(node.name, "not wanted")
