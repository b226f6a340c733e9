"""The GPU's measures run through, on kernels compiled as host C++; what they say there is no figure."""

import io
from functools import partial

import numpy as np
import pytest
from compute.host_driver import HostDriver
from device.device_network import Network, capture_of, face_at
from rich.console import Console

from stream import recipes
from stream.cli.tables import device_tables
from stream.device.frame import STEPS
from stream.device.stage import DeviceStage
from stream.errors import BackendError
from stream.evaluation import benchmark, device_frames, device_kernels
from stream.evaluation.device_frames import frame_times
from stream.pipeline.plan import Choice


def test_every_kernel_family_is_timed(driver: HostDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_kernels, "GROUPS", 2)
    monkeypatch.setattr(device_kernels, "REPEATS", 1)
    monkeypatch.setattr(device_kernels, "LEAST_BYTES", 10_000)
    times = device_kernels.kernel_times(driver, bandwidth=1e12, small=True)
    families = {"depth_to_mesh", "mend_surface", "crop_normalize", "expression_solve"}
    families |= {"texture_project", "resize_maps", "smooth_depth"}
    assert families <= {time.name for time in times}
    for time in times:
        # The host driver's clock counts a millisecond from one event to the next.
        assert time.p50 == time.p95 == 1
        if time.gbytes is None or time.gbytes * 1e9 < 10_000:
            assert time.share is None
        else:
            assert time.share == pytest.approx(time.gbytes * 1e9 / 1e-3 / 1e12)


def test_bandwidth_counts_what_is_read_and_what_is_written(driver: HostDriver) -> None:
    nbytes = 1 << 16
    assert device_kernels.copy_bandwidth(driver, nbytes) == pytest.approx(
        2 * nbytes / (1e-3 / device_kernels.REPEATS)
    )


def test_frames_are_timed_with_graphs_and_by_step(
    driver: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_frames, "COPIED", 1000)
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    captures = [capture_of(image, 0, face_at(150 + n, 110)) for n in range(3)]
    result = frame_times(
        lambda graphs: DeviceStage(lambda: Network(driver), graphs=graphs), captures, frames=6
    )
    assert result["replayed"] == 1
    assert set(result["steps_ms"]) == set(STEPS)
    assert sum(step["share"] for step in result["steps_ms"].values()) == pytest.approx(1)
    assert 0 < result["wall_ms"]["p50"] <= result["wall_ms"]["p99"]


def test_the_benchmark_tells_what_the_gpu_does_with_tracked_faces(
    driver: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_frames, "COPIED", 1000)
    monkeypatch.setattr(device_kernels, "COPIED", 1000)
    monkeypatch.setattr(device_kernels, "GROUPS", 2)
    monkeypatch.setattr(device_kernels, "REPEATS", 1)
    whole = device_kernels.kernel_times
    monkeypatch.setattr(device_kernels, "kernel_times", partial(whole, small=True))
    monkeypatch.setattr(device_kernels, "copy_bandwidth", lambda driver: 2e9)
    monkeypatch.setattr(
        benchmark,
        "device_stage",
        lambda settings, graphs: DeviceStage(lambda: Network(driver), graphs=graphs),
    )
    result = benchmark.measure_device(benchmark.BenchSettings(frames=10))
    assert (result["gpu"], result["copy_gb_s"]) == ("host C++", 2.0)
    assert result["frame"]["replayed"] == 1
    assert {kernel["name"] for kernel in result["kernels"]} >= {"depth_to_mesh", "texture_project"}
    console = Console(width=120, record=True, file=io.StringIO())
    for table in device_tables(result):
        console.print(table)
    text = console.export_text()
    assert "host C++" in text
    for name in (*STEPS, "expression_solve"):
        assert name in text


def test_the_benchmark_closes_every_stage_that_it_opens_on_the_gpu(
    driver: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracking alone must not ask for one."""
    monkeypatch.setattr(device_kernels, "kernel_times", lambda *given: [])
    monkeypatch.setattr(device_kernels, "copy_bandwidth", lambda driver: 2e9)
    monkeypatch.setattr(device_frames, "COPIED", 1000)
    opened: list[DeviceStage] = []

    class Counted(DeviceStage):
        def open(self) -> None:
            opened.append(self)
            super().open()

    def make(settings: object, graphs: bool = True) -> DeviceStage:
        return Counted(lambda: Network(driver), graphs=graphs)

    monkeypatch.setattr(benchmark, "device_stage", make)
    monkeypatch.setattr(recipes, "device_stage", make)
    monkeypatch.setattr(recipes, "_choose_device", lambda settings, shared: Choice(True, "as it may be"))
    benchmark.measure_device(benchmark.BenchSettings(frames=10))
    assert len(opened) == 2  # with graphs, and without
    assert all(stage.frame is None for stage in opened)


def test_a_stage_that_cannot_open_on_the_gpu_is_closed(driver: HostDriver) -> None:
    class Broken(DeviceStage):
        closed = 0

        def open(self) -> None:
            raise BackendError("The GPU has no memory left.")

        def close(self) -> None:
            self.closed += 1

    stage = Broken(lambda: Network(driver))
    with pytest.raises(BackendError, match="no memory"):
        frame_times(lambda graphs: stage, [], frames=1)
    assert stage.closed == 1
