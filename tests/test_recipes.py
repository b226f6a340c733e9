"""Which nodes a capture runs through, by what the machine has and the settings ask for."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from compute.host_driver import HostDriver

from stream.compute.cuda.current import use_driver
from stream.device.stage import DeviceStage
from stream.errors import BackendError, ConfigError, ModelError
from stream.inference.backends import BackendStatus
from stream.memory import TrackMemory
from stream.pipeline.plan import Plan
from stream.recipes import CaptureSettings, load_depth, make_stage, plan_capture

ON_HOST, ON_DEVICE = ["face", "depth", "surface", "mesh"], ["face", "device"]


def planned(*wanted: str, shared: bool = False, **settings: Any) -> Plan:
    return plan_capture(wanted or ("mesh",), CaptureSettings(**settings), shared=shared)


def names(*wanted: str, shared: bool = False, **settings: Any) -> list[str]:
    return [step.name for step in planned(*wanted, shared=shared, **settings).steps]


def why_left_out(plan: Plan, name: str) -> str:
    return next(node.why for node in plan.left_out if node.name == name)


def test_without_a_gpu_everything_runs_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.compute.backends.why_no_driver", lambda: "There is none.")
    assert names() == names(inference="tensorrt") == ON_HOST
    assert why_left_out(planned(), "device") == "There is none."
    with pytest.raises(BackendError, match="There is none"):
        planned(compute="cuda")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"inference": "tensorrt"}, ON_DEVICE),
        ({"inference": "torch", "compute": "cuda"}, ON_DEVICE),
        ({"inference": "openvino"}, ON_HOST),
        ({"inference": "tensorrt", "compute": "numba"}, ON_HOST),
    ],
)
def test_with_a_gpu_network_and_kernels_decide_together(
    settings: dict[str, Any], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = [BackendStatus(name, True, "", "") for name in ("tensorrt", "openvino", "torch")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: ready)
    with use_driver(HostDriver()):
        assert names(**settings) == expected


def test_on_a_gpu_surfaces_come_from_there_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = [BackendStatus("tensorrt", True, "", "")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: ready)
    with use_driver(HostDriver()):
        plan = planned("mesh", "surface", "expression")
    assert [(step.name, step.after) for step in plan.steps] == [
        ("face", ()),
        ("expression", ("face",)),
        ("device", ("face",)),
    ]
    device = plan.steps[2]
    assert (device.place, device.backend, device.model) == ("gpu", "tensorrt, cuda", "depth")


def test_expressions_need_faces_only_and_run_beside_the_depth() -> None:
    plan = planned("mesh", "expression", compute="numba")
    after = {step.name: step.after for step in plan.steps}
    assert after["expression"] == after["depth"] == ("face",)
    assert plan.steps_for(["expression"]) == {"face", "expression"}


def test_sessions_that_share_a_network_do_without_the_gpu_s_node(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = [BackendStatus("tensorrt", True, "", "")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: ready)
    with use_driver(HostDriver()):
        plan = planned("surface", shared=True)
    assert [(step.name, step.backend, step.model) for step in plan.steps][1] == ("depth", "tensorrt", "depth")
    assert "share" in why_left_out(plan, "device")


@pytest.mark.parametrize("ready", [True, False])
def test_auto_keeps_frames_on_the_gpu_where_tensorrt_can_run(
    ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = [BackendStatus("tensorrt", ready, "", ""), BackendStatus("openvino", True, "", "")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: status)
    with use_driver(HostDriver()):
        assert names() == (ON_DEVICE if ready else ON_HOST)


def test_nothing_is_opened_to_make_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(DeviceStage, "open", lambda self: opened.append("device"))
    monkeypatch.setattr("stream.inference.backends.load_engine", lambda *given: opened.append("network"))
    with use_driver(HostDriver()):
        planned("mesh", "surface", "expression", inference="torch")
    assert not opened


@pytest.mark.parametrize("kind", [BackendError, ModelError])
def test_the_next_backend_is_tried_where_the_first_refuses(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[tuple[str, str]] = []

    def load(model: Any, backend: str, *given: Any) -> str:
        tried.append((backend, model.stem))
        if backend == "tensorrt":
            raise kind("This GPU is not known.")
        return "engine"

    ready = [BackendStatus(name, True, "", "") for name in ("tensorrt", "openvino", "torch")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: ready)
    monkeypatch.setattr("stream.inference.backends.load_engine", load)
    with caplog.at_level(logging.WARNING):
        assert load_depth(CaptureSettings()) == "engine"
    assert tried == [("tensorrt", "depth"), ("openvino", "depth-live")], "the model follows the backend"
    assert "This GPU is not known." in caplog.text
    with pytest.raises(kind, match="not known"):
        load_depth(CaptureSettings(inference="tensorrt"))


def test_every_node_makes_the_stage_of_its_name() -> None:
    settings, memory = CaptureSettings(compute="numba"), TrackMemory()
    plan = planned("mesh", "expression", compute="numba")
    assert [make_stage(step, settings, memory).name for step in plan.steps] == [
        step.name for step in plan.steps
    ]
    with pytest.raises(ConfigError, match="no inference backend 'abacus'"):
        planned(inference="abacus")
