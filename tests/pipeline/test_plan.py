"""Which producers a plan picks, in which order, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import BackendError, ConfigError
from stream.pipeline.plan import FRAME, Choice, Node, Plan, plan


def node(name: str, needs: str, gives: str, runs: bool = True, why: str = "it is there") -> Node:
    return Node(
        name, tuple(needs.split()), tuple(gives.split()), "host", lambda: Choice(runs, why, "numpy", "m")
    )


FACE, EXPRESSION = node("face", FRAME, "face"), node("expression", "face", "expression")
DEVICE = node("device", "frame face", "depth mesh")
DEPTH, SURFACE = node("depth", "frame face", "depth"), node("surface", "depth", "surface")
MESH = node("mesh", "frame face surface", "mesh")
NODES = (FACE, EXPRESSION, DEVICE, DEPTH, SURFACE, MESH)
ON_HOST = (
    FACE,
    EXPRESSION,
    node("device", "frame face", "depth mesh", False, "no GPU"),
    DEPTH,
    SURFACE,
    MESH,
)


def order(made: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(step.name, step.after) for step in made.steps]


def test_the_first_that_can_run_is_the_producer_of_all_that_it_gives() -> None:
    assert order(plan(["mesh"], NODES)) == [("face", ()), ("device", ("face",))]
    assert order(plan(["mesh", "surface"], NODES))[-1] == ("surface", ("device",))


def test_what_another_step_comes_after_already_is_not_waited_for_twice() -> None:
    made = plan(["mesh", "expression"], ON_HOST)
    assert order(made) == [
        ("face", ()),
        ("expression", ("face",)),
        ("depth", ("face",)),
        ("surface", ("depth",)),
        ("mesh", ("surface",)),
    ]


def test_every_node_that_is_left_out_has_its_reason() -> None:
    reasons = {out.name: out.why for out in plan(["surface"], ON_HOST, given=["face"]).left_out}
    assert reasons == {
        "face": "the source gives it",
        "expression": "not wanted",
        "device": "no GPU",
        "mesh": "not wanted",
    }
    assert {out.name: out.why for out in plan(["mesh"], NODES).left_out}["depth"] == "another node gives it"


def test_what_the_source_gives_needs_no_step() -> None:
    assert order(plan(["mesh"], ON_HOST, given=["face", "surface"])) == [("mesh", ())]
    assert plan(["face"], NODES, given=["face"]).steps == ()


def test_where_nothing_can_run_the_sentence_says_why() -> None:
    with pytest.raises(BackendError, match=r"Nothing here gives depth, which mesh needs\. depth: no library"):
        plan(["mesh"], [FACE, node("depth", "face", "depth", False, "no library"), SURFACE, MESH])
    with pytest.raises(BackendError, match="Nothing here gives head"):
        plan(["head"], NODES)


def test_nodes_that_need_each_other_are_refused() -> None:
    with pytest.raises((ConfigError, RecursionError)):
        plan(["a"], [node("one", "b", "a"), node("two", "a", "b")])


def test_a_demand_runs_what_it_builds_on_and_nothing_else() -> None:
    made = plan(["mesh", "surface", "expression"], ON_HOST)
    assert made.steps_for(["expression"]) == {"face", "expression"}
    assert made.steps_for(["surface"]) == {"face", "depth", "surface"}
    assert made.steps_for([]) == made.steps_for(["unknown"]) == set()


def test_a_plan_is_plain_data() -> None:
    made = plan(["mesh", "expression"], ON_HOST)
    assert Plan.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    damaged: list[dict[str, Any]] = [{}, {"steps": [{}]}, {**made.to_dict(), "steps": [{"name": "x"}]}]
    for broken in damaged:
        with pytest.raises(ConfigError, match="no plan"):
            Plan.from_dict(broken)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Node], list[str]]:
    """Nodes that each need some of what those before give, and a few things that are wanted."""
    nodes, things = [], [FRAME]
    for number in range(draw(st.integers(1, 8))):
        needs = draw(st.lists(st.sampled_from(things), min_size=1, max_size=3, unique=True))
        gives = [f"t{number}.{k}" for k in range(draw(st.integers(1, 2)))]
        things += gives
        nodes.append(Node(f"n{number}", tuple(needs), tuple(gives), "host", lambda: Choice(True, "")))
    wanted = draw(st.lists(st.sampled_from(things[1:]), min_size=1, max_size=4, unique=True))
    return draw(st.permutations(nodes)), wanted


@given(worlds())
def test_any_plan_gives_all_that_is_wanted_behind_what_it_needs(world: tuple[list[Node], list[str]]) -> None:
    nodes, wanted = world
    made = plan(wanted, nodes)
    there, done = {FRAME}, list[str]()
    for step in made.steps:
        assert set(step.needs) <= there
        assert set(step.after) <= set(done)
        there.update(step.gives)
        done.append(step.name)
    assert set(wanted) <= there
    assert made.steps_for(wanted) == set(done), "no step gives only what nobody needs"
