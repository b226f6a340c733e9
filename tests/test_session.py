"""A session runs its plan, what its sinks want of it, and nothing wires stages by hand."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stream
from stream import CaptureSettings, Session
from stream.errors import SourceError
from stream.evaluation.keep import KeepCaptures
from stream.pipeline.demand import EVERY, Demand
from stream.sources.sample import SampleSource
from stream.types import Capture, Frame

SETTINGS = CaptureSettings(inference="onnxruntime", compute="numba")

PACKAGE = Path(stream.__file__).parent

STAGES = {
    "FaceStage",
    "DepthStage",
    "SurfaceStage",
    "MeshStage",
    "ExpressionStage",
    "DeviceStage",
    "Pipeline",
}

MAY_MAKE = {
    "recipes.py": "it is where a plan's steps become stages",
    "session.py": "it is where they are run",
    "evaluation/statistics.py": "it looks for faces in pictures and clips, outside of any session",
}


class Changing:
    """A sink whose wishes the test changes as frames come."""

    name = "changing"

    def __init__(self, wishes: list[Demand]) -> None:
        self._wishes, self.asked = wishes, 0
        self.captures: list[Capture] = []

    @property
    def wants(self) -> Demand:
        self.asked += 1
        return self._wishes[self.asked % len(self._wishes)]

    def open(self) -> None:
        pass

    def __call__(self, capture: Capture) -> Capture:
        self.captures.append(capture)
        return capture

    def close(self) -> None:
        pass


def run(*wanted: str, frames: int = 3) -> tuple[Session, list[Capture]]:
    sink = KeepCaptures("face")
    sink.wants = dict.fromkeys(wanted, EVERY)
    session = Session(SampleSource(fast=True), [sink], SETTINGS, frames=frames)
    session.run()
    return session, sink.captures


@pytest.mark.parametrize("wanted", [("face",), ("mesh",), ("mesh", "expression"), ("surface", "expression")])
def test_what_the_plan_says_is_what_runs(wanted: tuple[str, ...]) -> None:
    session, captures = run(*wanted)
    planned = {step.name for step in session.plan.steps}
    given = {thing for step in session.plan.steps for thing in step.gives}
    for capture in captures:
        assert set(capture.steps) == planned
        assert capture.known == given
        (person,) = capture.people
        assert all(getattr(person, thing) is not None for thing in wanted)


def test_a_hundred_changes_of_demand_lose_no_frame_and_leave_nothing_behind() -> None:
    wishes: list[Demand] = [{}, {"face": EVERY}, {"expression": EVERY}, {"mesh": EVERY, "expression": EVERY}]
    before = threading.active_count()
    sink = Changing(wishes)
    session = Session(SampleSource(fast=True), [sink], SETTINGS, wanted=("mesh", "expression"), frames=100)
    summary = session.run()
    assert [capture.frame.index for capture in sink.captures] == list(range(100))
    assert summary.metrics["drops"] == 0
    assert all(not stage["errors"] for stage in summary.metrics["stages"].values())
    first = sink.asked - 100  # the plan asked before the first frame came
    for number, capture in enumerate(sink.captures):
        wish = wishes[(first + number + 1) % len(wishes)]
        assert set(wish) <= set(capture.known)
        assert bool(capture.known) == bool(wish), "what nobody wants is not worked out"
    assert threading.active_count() == before


def test_ends_open_before_stages_and_everything_once_on_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[str, str]] = []

    def noting(kind: type[Any], name: str) -> None:
        whole = kind.open

        def note(self: Any) -> None:
            opened.append((name, threading.current_thread().name))
            whole(self)

        monkeypatch.setattr(kind, "open", note)

    from stream.face.stage import FaceStage
    from stream.mesh.stage import SurfaceStage

    noting(SampleSource, "source")
    noting(KeepCaptures, "keep")
    noting(FaceStage, "face")
    noting(SurfaceStage, "surface")
    run("surface")
    names = [name for name, _ in opened]
    assert set(names[:2]) == {"source", "keep"}
    assert sorted(names[2:]) == ["face", "surface"]
    assert {thread for _, thread in opened} == {f"prosopon-{name}" for name in names}


def test_where_the_source_cannot_open_no_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(SampleSource):
        def open(self) -> None:
            raise SourceError("There is no camera.")

        def read(self) -> Frame | None:
            raise AssertionError

    loaded: list[str] = []
    monkeypatch.setattr("stream.recipes.load_depth", lambda settings: loaded.append("depth"))
    with pytest.raises(SourceError, match="no camera"):
        Session(Missing(fast=True), [KeepCaptures("mesh")], SETTINGS).run()
    assert not loaded


def made_by_hand() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in STAGES:
                    yield str(path.relative_to(PACKAGE))


def test_nothing_else_makes_stages_or_pipelines() -> None:
    assert set(made_by_hand()) == set(MAY_MAKE)


def test_programs_find_what_they_need_in_the_package_itself() -> None:
    for name in stream.__all__:
        assert getattr(stream, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = stream.Nothing
