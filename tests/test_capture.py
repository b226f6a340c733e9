"""Which stages a capture runs through, by what the machine has and the settings ask for."""

import pytest
from compute.host_driver import HostDriver

from stream.capture import CaptureSettings, capture_stages, live_model
from stream.compute.cuda.current import use_driver
from stream.errors import BackendError, ModelError
from stream.inference.backends import BackendStatus
from stream.mesh.device_stage import DeviceStage

ON_HOST, ON_DEVICE = ["face", "depth", "mesh"], ["face", "device"]


def stages(**settings: str | bool) -> list[str]:
    return [stage.name for stage in capture_stages(CaptureSettings(**settings))]


def test_without_a_gpu_everything_runs_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.compute.backends.why_no_driver", lambda: "There is none.")
    assert stages() == stages(inference="tensorrt") == ON_HOST
    with pytest.raises(BackendError, match="There is none"):
        stages(compute="cuda")


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
    settings: dict[str, str], expected: list[str]
) -> None:
    with use_driver(HostDriver()):
        assert stages(**settings) == expected


@pytest.mark.parametrize("inference", ["openvino", "tensorrt"])
def test_expressions_need_faces_only(inference: str) -> None:
    with use_driver(HostDriver()):
        with_expressions = stages(inference=inference, expression=True)
        assert with_expressions == ["face", "expression", *stages(inference=inference)[1:]]


@pytest.mark.parametrize("ready", [True, False])
def test_auto_keeps_frames_on_the_gpu_where_tensorrt_can_run(
    ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = [BackendStatus("tensorrt", ready, "", ""), BackendStatus("openvino", True, "", "")]
    monkeypatch.setattr("stream.inference.backends.backend_status", lambda: status)
    monkeypatch.setattr(DeviceStage, "open", lambda self: None)
    with use_driver(HostDriver()):
        assert stages() == (ON_DEVICE if ready else ON_HOST)


@pytest.mark.parametrize("kind", [BackendError, ModelError])
def test_auto_goes_back_to_the_host_where_the_gpu_refuses(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: DeviceStage) -> None:
        raise kind("This GPU is not known.")

    monkeypatch.setattr(
        "stream.inference.backends.backend_status", lambda: [BackendStatus("tensorrt", True, "", "")]
    )
    monkeypatch.setattr(DeviceStage, "open", refuse)
    with use_driver(HostDriver()):
        assert stages() == ON_HOST
        assert stages(inference="tensorrt") == ON_DEVICE  # and says so when it is opened
    assert "This GPU is not known." in caplog.text


def test_the_quantised_network_is_for_the_cpu() -> None:
    assert live_model("auto") == live_model("openvino") == "depth-int8"
    assert live_model("tensorrt") == live_model("torch") == "depth"
