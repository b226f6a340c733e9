"""Branches: both get the same frames, drops are decided once, and what a sink gets where one fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pipeline.pipeline_helpers import FakeStage, ListSource, on_a_loop, sleeping

from stream.expression.arkit import ARKIT_NAMES
from stream.pipeline.runner import Pipeline, Summary
from stream.types import Capture, Crop, Depth, Expression, Face, Intrinsics, Person

After = dict[str, tuple[str, ...]]

AFTER: After = {"left": ("root",), "right": ("root",), "end": ("left", "right")}
CAMERA = Intrinsics(1.0, 1.0, 0.0, 0.0, 2, 2)


def person(number: int) -> Person:
    pose = np.eye(4, dtype=np.float32)
    return Person(Face(number, np.zeros((0, 3), np.float32), pose, Crop(0.0, 0.0, 1.0, 0.0), CAMERA))


def root(capture: Capture) -> Capture:
    """One person, whose number is the frame's."""
    return capture.adding("face", [person(capture.frame.index)])


def left(capture: Capture) -> Capture:
    depth = Depth(np.full((2, 2), capture.frame.index, np.float32), np.ones((2, 2), np.float32))
    return capture.adding("depth", [replace(one, depth=depth) for one in capture.people])


def right(capture: Capture) -> Capture:
    found = Expression(np.full(len(ARKIT_NAMES), capture.frame.index, np.float32))
    return capture.adding("expression", [replace(one, expression=found) for one in capture.people])


def bad_on(*indices: int) -> Callable[[Capture], None]:
    def check(capture: Capture) -> None:
        if capture.frame.index in indices:
            raise ValueError("a bad frame")

    return check


def waiting(work: Callable[[Capture], Capture], seconds: Callable[[], float]) -> Callable[[Capture], Capture]:
    def done(capture: Capture) -> Capture:
        time.sleep(seconds())
        return work(capture)

    return done


def failing(
    work: Callable[[Capture], Capture], check: Callable[[Capture], None]
) -> Callable[[Capture], Capture]:
    def done(capture: Capture) -> Capture:
        check(capture)
        return work(capture)

    return done


async def run(source: ListSource, stages: list[FakeStage], sink: FakeStage, after: After) -> Summary:
    return await Pipeline(source, stages, [sink], after=after).run()


def branches(
    left_work: Callable[[Capture], Capture] = left, right_work: Callable[[Capture], Capture] = right
) -> list[FakeStage]:
    return [FakeStage("root", root), FakeStage("left", left_work), FakeStage("right", right_work)]


def whole(capture: Capture) -> bool:
    """Whether one person has what both branches made of this very frame."""
    (one,) = capture.people
    assert one.depth is not None
    assert one.expression is not None
    made = {one.track_id, int(one.depth.map[0, 0]), int(one.expression.coefficients[0])}
    return made == {capture.frame.index} and capture.known == {"face", "depth", "expression"}


FORK: After = {"left": ("root",), "right": ("root",)}


@on_a_loop
async def test_offline_every_frame_comes_out_whole_and_in_order() -> None:
    rng, sink = random.Random(1), FakeStage("sink")
    stages = branches(
        waiting(left, lambda: rng.random() * 0.004), waiting(right, lambda: rng.random() * 0.004)
    )
    summary = await run(ListSource(60), stages, sink, FORK)
    assert sink.seen == list(range(60))
    assert all(whole(capture) for capture in sink.captures)
    assert set(sink.captures[0].steps) == {"root", "left", "right"}
    assert summary.metrics["drops"] == 0


@on_a_loop
async def test_live_both_branches_get_the_same_frames_and_a_drop_is_one() -> None:
    stages = branches(waiting(left, lambda: 0.015), waiting(right, lambda: 0.002))
    sink = FakeStage("sink")
    summary = await run(ListSource(100, paced=True, every=0.002), stages, sink, FORK)
    figures = summary.metrics["stages"]
    assert stages[1].seen == stages[2].seen == sink.seen
    assert all(whole(capture) for capture in sink.captures)
    assert figures["left"]["drops"] > 10 > figures["right"]["drops"], "they are those of the slow branch"
    assert len(sink.seen) + summary.metrics["drops"] == 100


@on_a_loop
async def test_branches_run_at_the_same_time() -> None:
    sink = FakeStage("sink")
    begun = time.monotonic()
    await run(ListSource(20), branches(waiting(left, lambda: 0.02), waiting(right, lambda: 0.02)), sink, FORK)
    assert len(sink.seen) == 20
    assert time.monotonic() - begun < 20 * 0.04 * 0.9


@on_a_loop
async def test_where_one_branch_fails_the_sink_gets_the_rest() -> None:
    sink = FakeStage("sink")
    stages = branches(failing(left, bad_on(2, 5)), failing(right, bad_on(5, 7)))
    summary = await run(ListSource(10), stages, sink, FORK)
    assert sink.seen == [0, 1, 2, 3, 4, 6, 7, 8, 9], "what failed in all branches goes no further"
    known = {capture.frame.index: set(capture.known) for capture in sink.captures}
    assert known[2] == {"face", "expression"}
    assert known[7] == {"face", "depth"}
    (lone,) = next(capture.people for capture in sink.captures if capture.frame.index == 2)
    assert lone.depth is None
    assert lone.expression is not None
    assert {name: summary.metrics["stages"][name]["errors"] for name in FORK} == {"left": 2, "right": 2}


@on_a_loop
async def test_a_frame_that_a_stage_gives_up_in_one_branch_holds_up_nobody() -> None:
    sink, stages = FakeStage("sink"), branches()
    stages[1]._work = lambda capture: None if capture.frame.index % 2 else left(capture)
    await run(ListSource(9), stages, sink, FORK)
    assert sink.seen == list(range(9))
    assert ["depth" in capture.known for capture in sink.captures] == [True, False] * 4 + [True]


@on_a_loop
async def test_a_stage_that_needs_both_branches_comes_behind_their_join() -> None:
    seen: list[bool] = []

    def end(capture: Capture) -> Capture:
        seen.append(whole(capture))
        return capture

    stages, sink = [*branches(), FakeStage("end", end)], FakeStage("sink")
    await run(ListSource(20), stages, sink, AFTER)
    assert seen == [True] * 20
    assert sink.seen == list(range(20))


@on_a_loop
async def test_a_long_branch_keeps_its_frames() -> None:
    stages = [*branches(), FakeStage("longer", sleeping(0.01)), FakeStage("longest", sleeping(0.004))]
    sink = FakeStage("sink")
    after: After = {**FORK, "longer": ("left",), "longest": ("longer",)}
    await run(ListSource(80, paced=True, every=0.002), stages, sink, after)
    assert stages[1].seen == stages[2].seen == stages[3].seen == stages[4].seen == sink.seen
    assert len(sink.seen) < 80


@pytest.mark.parametrize("paced", [True, False])
def test_a_run_that_is_stopped_while_its_branches_are_busy_ends(paced: bool) -> None:
    @on_a_loop
    async def stopped() -> None:
        pipeline = Pipeline(
            ListSource(None, paced=paced, every=0.001),
            [FakeStage("root", root), FakeStage("left", sleeping(0.05)), FakeStage("right", right)],
            [FakeStage("sink")],
            after=FORK,
            duration=0.3,
        )
        begun = time.monotonic()
        summary = await pipeline.run()
        assert summary.abandoned == ()
        assert time.monotonic() - begun < 2.5

    stopped()


@on_a_loop
async def test_a_source_may_give_captures_that_are_partly_filled() -> None:
    class Filled(ListSource):
        gives = ("face",)

        def read(self) -> Capture | None:  # type: ignore[override]
            frame = super().read()
            return None if frame is None else root(Capture(frame))

    sink, stages = FakeStage("sink"), branches()[1:]
    await run(Filled(12), stages, sink, {"left": (), "right": ()})
    assert sink.seen == list(range(12))
    assert all(whole(capture) for capture in sink.captures)


@on_a_loop
async def test_a_stage_that_is_not_wanted_lets_frames_pass() -> None:
    sink, stages = FakeStage("sink"), branches()
    turns = iter(range(1000))

    def demands(now: float) -> frozenset[str]:
        return frozenset({"root", "left"} if next(turns) % 2 else {"root", "right"})

    pipeline = Pipeline(ListSource(20), stages, [sink], after=FORK, demands=demands)
    summary = await pipeline.run()
    assert sink.seen == list(range(20))
    assert stages[1].seen == list(range(1, 20, 2))
    assert stages[2].seen == list(range(0, 20, 2))
    assert summary.metrics["stages"]["left"]["count"] == 10
