"""The real models behind a session: one network, stages of each session's own."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stream.capture import LIVE_SIDE, CaptureSettings, capture_stages
from stream.depth.stage import DepthStage
from stream.mesh.stage import SurfaceStage
from stream.pipeline.stage import Stage
from stream.remote.sessions import models as models_module
from stream.remote.sessions.models import SharedModels
from stream.sources.sample import SampleSource
from stream.types import Capture


@dataclass
class Wants:
    meshes_wanted: bool = True
    expressions_wanted: bool = False


@pytest.fixture(scope="module")
def models() -> Any:
    settled: list[bool] = []
    patch = pytest.MonkeyPatch()
    patch.setattr(models_module, "settle_heap", lambda: settled.append(gc.isenabled()))
    loaded = SharedModels(CaptureSettings(inference="openvino", compute="numba"), LIVE_SIDE, 2)
    loaded.load()
    patch.undo()
    assert settled == [True]
    yield loaded
    loaded.close()
    loaded.close()


@pytest.fixture(scope="module")
def captures() -> list[Capture]:
    source = SampleSource(fast=True)
    source.open()
    frames = [source.read() for _ in range(3)]
    source.close()
    return [Capture(frame) for frame in frames if frame is not None]


def run(stages: list[Stage], captures: list[Capture]) -> list[Capture]:
    for stage in stages:
        stage.open()
    done = []
    for capture in captures:
        for stage in stages:
            capture = stage(capture) or capture
        done.append(capture)
    for stage in stages:
        stage.close()
    return done


def test_a_session_sees_what_a_pipeline_of_its_own_would(
    models: SharedModels, captures: list[Capture]
) -> None:
    alone = capture_stages(CaptureSettings(inference="openvino", compute="numba"))
    face, depth = alone[0], DepthStage("openvino", "depth-int8", None, "f16", side=LIVE_SIDE)
    wanted = run([face, depth, SurfaceStage()], captures)
    first, second = models.stages(Wants()), models.stages(Wants())
    assert [stage.name for stage in first] == ["face", "depth", "surface", "expression"]
    for stages in (first, second):
        for here, there in zip(run(stages, captures), wanted, strict=True):
            assert len(here.faces) == 1
            assert not here.expressions
            solid = there.depths[0].mask > 0.5
            assert ((here.depths[0].mask > 0.5) == solid).mean() > 0.999
            difference = np.abs(here.depths[0].map - there.depths[0].map)[solid]
            assert np.median(difference) < 1e-5


def test_faces_that_nobody_wants_are_looked_for_now_and_then(
    captures: list[Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(models_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    looked: list[float] = []

    def look(capture: Capture) -> Capture:
        looked.append(now[0])
        return replace(capture, faces=(len(looked),))  # type: ignore[arg-type]

    stage = SimpleNamespace(name="face", open=None, close=None)
    wants = Wants(False, False)
    rarely = models_module._Rarely(stage, lambda: wants.meshes_wanted)
    rarely._stage = look  # type: ignore[assignment]
    seen: list[Any] = []
    for number in range(60):  # two seconds
        now[0] = 100.0 + number / 30
        seen.append(rarely(captures[0]).faces[0])
    assert len(looked) == 8
    assert seen == sorted(seen), "those found last go along in between"
    wants.meshes_wanted = True
    for _ in range(5):
        now[0] += 1 / 30
        rarely(captures[0])
    assert looked[-5:] == pytest.approx([now[0] - back / 30 for back in range(4, -1, -1)])


def test_only_what_is_wanted_is_worked_out(models: SharedModels, captures: list[Capture]) -> None:
    for wants, depths, expressions in (
        (Wants(False, False), 0, 0),
        (Wants(False, True), 0, 1),
        (Wants(True, True), 1, 1),
    ):
        last = run(models.stages(wants), captures)[-1]
        assert len(last.faces) == 1
        assert (len(last.depths), len(last.expressions)) == (depths, expressions)
