"""The TensorRT engine and the choice of its plan, with ONNX Runtime as TensorRT and no GPU."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from inference.fake_tensorrt import CapturingDriver, FakeTensorRt
from tiny_models import tiny_depth_model, tiny_depth_numpy

from stream.compute.cuda import arrays
from stream.errors import BackendError, InputError, ModelError
from stream.inference import backend_tensorrt, backends, tensorrt_plans, tensorrt_progress
from stream.inference.backend_tensorrt import WARM_UPS, TensorRtEngine
from stream.inference.backends import load_engine
from stream.inference.engine import TensorSpec
from stream.models.store import open_model


class Machine:
    """A machine with a GPU and TensorRT."""

    def __init__(self, patch: pytest.MonkeyPatch, rtx: bool = False, refuses: str = "") -> None:
        self.driver = CapturingDriver(refuses)
        self.trt = FakeTensorRt(self.driver, rtx)
        patch.setattr(backend_tensorrt, "why_not", lambda: None)
        patch.setattr(backends, "_not_meant_to_run", lambda name: None)
        patch.setattr(backend_tensorrt, "current_driver", lambda: self.driver)
        patch.setattr(tensorrt_plans, "load_library", self.trt.library)
        patch.setattr(tensorrt_plans, "check_architecture", lambda library, arch: None)
        patch.setattr(CapturingDriver, "info", CapturingDriver.info.__class__("Fake", "sm_86", 1, 1, "13.0"))

    def count(self, *event: object) -> int:
        return sum(entry[: len(event)] == event for entry in self.trt.events)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 16, 16)).astype(np.float32)


def uploaded(driver: CapturingDriver, host: np.ndarray) -> arrays.DeviceArray:
    return arrays.to_device(driver, host)


class TestRun:
    def test_every_run_gives_what_plain_numpy_gives(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt", precision="f32", batch=2)
        for seed in range(WARM_UPS + 3):  # some before the graph is captured, some from it
            image = images(2, seed)
            outputs = engine.run({"image": image})
            depth, mask = tiny_depth_numpy(image, tiny_model)
            np.testing.assert_allclose(outputs["depth"], depth, atol=1e-5)
            np.testing.assert_allclose(outputs["mask"], mask, atol=1e-5)
        assert machine.driver.calls.count("replay") == 3
        assert machine.driver.calls.count("begin_capture") == 1

    def test_its_specs_are_those_of_the_other_backends(self, machine: Machine, tiny_model: bytes) -> None:
        engine, other = (load_engine(tiny_model, name, batch=3) for name in ("tensorrt", "onnxruntime"))
        assert engine.inputs == other.inputs == (TensorSpec("image", (3, 3, 16, 16), "float32"),)
        assert engine.outputs == other.outputs

    def test_outputs_are_the_callers_own(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt")
        first = engine.run({"image": images(1)})["depth"]
        kept = first.copy()
        second = engine.run({"image": images(1, 1)})["depth"]
        assert np.abs(second - kept).max() > 1e-3
        np.testing.assert_array_equal(first, kept)

    def test_a_steady_run_binds_and_allocates_nothing(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt")
        engine.run({"image": images(1)})
        before = machine.driver.calls.count("allocate"), machine.count("bind")
        for seed in range(4):
            engine.run({"image": images(1, seed)})
        assert (machine.driver.calls.count("allocate"), machine.count("bind")) == before
        assert engine.capturable  # type: ignore[attr-defined]

    @pytest.mark.parametrize("refuses", ["begin", "end"])
    def test_without_a_graph_it_goes_on_and_says_so_once(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        tiny_model: bytes,
        refuses: str,
    ) -> None:
        machine = Machine(monkeypatch, refuses=refuses)
        engine = load_engine(tiny_model, "tensorrt", precision="f32")
        with caplog.at_level(logging.WARNING):
            for seed in range(WARM_UPS + 3):
                image = images(1, seed)
                depth = engine.run({"image": image})["depth"]
                np.testing.assert_allclose(depth, tiny_depth_numpy(image, tiny_model)[0], atol=1e-5)
        assert caplog.text.count("No CUDA graph could be captured") == 1
        assert "CUDA_ERROR_FAKE" in caplog.text
        assert "replay" not in machine.driver.calls

    def test_what_the_library_cannot_capture_is_not_tried(
        self, monkeypatch: pytest.MonkeyPatch, tiny_model: bytes
    ) -> None:
        machine = Machine(monkeypatch, rtx=True)
        machine.trt.capturable = False
        engine = load_engine(tiny_model, "tensorrt")
        for _ in range(WARM_UPS + 1):
            engine.run({"image": images(1)})
        assert "begin_capture" not in machine.driver.calls
        assert not engine.capturable  # type: ignore[attr-defined]

    def test_wrong_inputs_are_refused(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt")
        for wrong in ({}, {"image": images(2)}, {"image": images(1).astype(np.float64)}, {"x": images(1)}):
            with pytest.raises(InputError):
                engine.run(wrong)

    def test_a_failing_run_names_tensorrts_reason(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt")
        machine.trt.runs = False
        with pytest.raises(BackendError, match="cannot run the network: illegal address somewhere"):
            engine.run({"image": images(1)})

    def test_after_close_it_refuses(self, machine: Machine, tiny_model: bytes) -> None:
        engine = load_engine(tiny_model, "tensorrt")
        engine.close()
        engine.close()
        with pytest.raises(ModelError, match="closed"):
            engine.run({"image": images(1)})
        with pytest.raises(ModelError, match="closed"):
            engine.run_device({}, machine.driver.stream())  # type: ignore[attr-defined]


class TestRunDevice:
    def engine(self, tiny_model: bytes, batch: int = 4) -> TensorRtEngine:
        engine = load_engine(tiny_model, "tensorrt", precision="f32", batch=batch)
        assert isinstance(engine, TensorRtEngine)
        return engine

    def test_any_batch_up_to_the_largest(self, machine: Machine, tiny_model: bytes) -> None:
        engine, stream = self.engine(tiny_model), machine.driver.stream()
        for count in (4, 1, 3, 1):
            image = images(count, count)
            outputs = engine.run_device({"image": uploaded(machine.driver, image)}, stream)
            assert outputs["depth"].shape == (count, 1, 16, 16)
            depth, mask = tiny_depth_numpy(image, tiny_model)
            np.testing.assert_allclose(arrays.to_host(machine.driver, outputs["depth"]), depth, atol=1e-5)
            np.testing.assert_allclose(arrays.to_host(machine.driver, outputs["mask"]), mask, atol=1e-5)

    def test_a_second_call_only_queues(self, machine: Machine, tiny_model: bytes) -> None:
        engine, stream = self.engine(tiny_model), machine.driver.stream()
        inputs = {"image": uploaded(machine.driver, images(2))}
        engine.run_device(inputs, stream)
        bound, machine.driver.calls[:] = machine.count("bind"), []
        first = engine.run_device(inputs, stream)
        second = engine.run_device(inputs, stream)
        assert machine.driver.calls == ["execute on 17"] * 2
        assert machine.count("bind") == bound
        assert first["depth"].pointer == second["depth"].pointer

    def test_it_can_be_part_of_a_callers_graph(self, machine: Machine, tiny_model: bytes) -> None:
        engine, driver = self.engine(tiny_model), machine.driver
        stream, image = driver.stream(), uploaded(driver, images(2, 5))
        engine.run_device({"image": image}, stream)
        driver.begin_capture(stream)
        outputs = engine.run_device({"image": image}, stream)
        graph = driver.end_capture(stream)
        new = images(2, 6)
        driver.upload(image.pointer, new, stream)
        engine.run({"image": images(4, 9)})  # another context: the graph's state must survive it
        driver.replay(graph, stream)
        expected, _ = tiny_depth_numpy(new, tiny_model)
        np.testing.assert_allclose(arrays.to_host(driver, outputs["depth"]), expected, atol=1e-5)

    def test_wrong_arrays_are_refused(self, machine: Machine, tiny_model: bytes) -> None:
        engine, driver = self.engine(tiny_model), machine.driver
        stream = driver.stream()
        for wrong in (
            {},
            {"image": uploaded(driver, images(5))},
            {"image": uploaded(driver, images(0))},
            {"image": uploaded(driver, images(2).astype(np.float16))},
            {"image": uploaded(driver, images(2)[:, :2])},
            {"other": uploaded(driver, images(2))},
        ):
            with pytest.raises(InputError):
                engine.run_device(wrong, stream)

    def test_a_fixed_batch_stays_fixed(self, machine: Machine) -> None:
        engine = self.engine(tiny_depth_model(batch=2), batch=2)
        assert machine.count("profile") == 0
        with pytest.raises(InputError, match="batches of 2"):
            engine.run_device({"image": uploaded(machine.driver, images(1))}, machine.driver.stream())


class TestPlan:
    def test_a_second_engine_builds_nothing(self, machine: Machine, tiny_model: bytes) -> None:
        for builds, arguments in enumerate(
            [{"batch": 1}, {"batch": 2}, {"batch": 2, "precision": "f32"}], start=1
        ):
            for _ in range(2):
                load_engine(tiny_model, "tensorrt", **arguments)  # type: ignore[arg-type]
            assert machine.count("build") == builds
        assert machine.count("profile", "image", (1, 3, 16, 16), (2, 3, 16, 16), (2, 3, 16, 16)) == 2

    def test_precision_follows_the_wish_and_the_model(self, machine: Machine, tiny_model: bytes) -> None:
        engines = {wish: load_engine(tiny_model, "tensorrt", precision=wish) for wish in (None, "f16", "f32")}
        assert [engine.precision for engine in engines.values()] == ["fp16", "fp16", "fp32"]  # type: ignore[attr-defined]
        assert 0 < engines[None].loss["depth"] < 0.01  # type: ignore[attr-defined]
        assert engines["f32"].loss == {}  # type: ignore[attr-defined]
        flags = [event[1] for event in machine.trt.events if event[0] == "build"]
        assert flags == [{"TF32"}, frozenset()]

    def test_a_lossy_float16_is_refused_and_that_is_remembered(
        self, machine: Machine, caplog: pytest.LogCaptureFixture, tiny_model: bytes
    ) -> None:
        machine.trt.spoils = lambda plan: plan != tiny_model
        for _ in range(2):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                engine = load_engine(tiny_model, "tensorrt")
            assert engine.precision == "fp32"  # type: ignore[attr-defined]
            assert "computes in float32: fp16 changes the output" in caplog.text
            assert "2% may be" in caplog.text
        assert machine.count("build") == 2  # float16 once, float32 once
        image = images(1)
        depth = engine.run({"image": image})["depth"]
        np.testing.assert_allclose(depth, tiny_depth_numpy(image, tiny_model)[0], atol=1e-5)

    def test_a_lossy_int8_leaves_the_model_to_the_next_backend(
        self, machine: Machine, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine.trt.spoils = lambda plan: True
        model = open_model("depth-live")
        with pytest.raises(BackendError, match="int8 changes the output"):
            load_engine(model, "tensorrt")
        with caplog.at_level(logging.WARNING):
            assert load_engine(model, threads=1).backend == "openvino"
        assert "tensorrt: TensorRT is not used: int8 changes the output" in caplog.text

    def test_a_damaged_plan_is_built_anew(
        self, machine: Machine, caplog: pytest.LogCaptureFixture, tiny_model: bytes, tmp_path: Path
    ) -> None:
        load_engine(tiny_model, "tensorrt")
        (plan,) = (tmp_path / "prosopon" / "engines").glob("*.plan")
        content = bytearray(plan.read_bytes())
        content[-1] ^= 1
        plan.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            load_engine(tiny_model, "tensorrt")
        assert machine.count("build") == 2
        assert "built anew" in caplog.text

    def test_a_plan_that_does_not_load_is_the_backends_fault(
        self, machine: Machine, tiny_model: bytes
    ) -> None:
        machine.trt.loads = False
        with pytest.raises(BackendError, match="cannot load the plan: wrong version tag"):
            load_engine(tiny_model, "tensorrt")

    def test_timings_of_one_build_help_the_next(self, machine: Machine, tiny_model: bytes) -> None:
        load_engine(tiny_model, "tensorrt", batch=1)
        load_engine(tiny_model, "tensorrt", batch=2)
        assert [event[1] for event in machine.trt.events if event[0] == "timing"] == [b"", b"timed;"]

    def test_rtx_is_told_the_gpu_and_keeps_its_kernels(
        self, monkeypatch: pytest.MonkeyPatch, tiny_model: bytes
    ) -> None:
        machine = Machine(monkeypatch, rtx=True)
        engine = load_engine(tiny_model, "tensorrt")
        for _ in range(WARM_UPS):
            engine.run({"image": images(1)})
        assert machine.count("capability", "SM86") == 1
        assert machine.count("timing") == 0
        assert all(
            "REQUIRE_USER_ALLOCATION" in event[1] for event in machine.trt.events if event[0] == "build"
        )
        load_engine(tiny_model, "tensorrt")
        assert machine.count("runtime cache", b"compiled kernels") == 1

    def test_rtx_keeps_its_kernels_of_frames_on_the_gpu_too(
        self, monkeypatch: pytest.MonkeyPatch, tiny_model: bytes, tmp_path: Path
    ) -> None:
        machine = Machine(monkeypatch, rtx=True)
        engine = load_engine(tiny_model, "tensorrt", precision="f32")
        assert isinstance(engine, TensorRtEngine)
        engine.run_device({"image": uploaded(machine.driver, images(1))}, machine.driver.stream())
        (tmp_path / "prosopon" / "engines").chmod(0o777)
        engine.close()  # the folder was opened to others meanwhile: nothing is kept, nothing fails
        assert not list((tmp_path / "prosopon" / "engines").glob("*.runtime"))
        (tmp_path / "prosopon" / "engines").chmod(0o700)
        load_engine(tiny_model, "tensorrt", precision="f32").close()
        assert len(list((tmp_path / "prosopon" / "engines").glob("*.runtime"))) == 1

    def test_ctrl_c_stops_a_build(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, tiny_model: bytes
    ) -> None:
        stopped: list[str] = []

        def endless(*arguments: object) -> None:
            progress = arguments[-1]
            while progress("layers", 0.5):  # type: ignore[operator]
                pass
            stopped.append("stopped")
            raise BackendError("it was stopped.")

        class Impatient(threading.Thread):
            def join(self, timeout: float | None = None) -> None:
                if timeout is not None:
                    raise KeyboardInterrupt
                super().join()

        monkeypatch.setattr(tensorrt_plans, "build_plan", endless)
        monkeypatch.setattr(tensorrt_progress.threading, "Thread", Impatient)
        with pytest.raises(KeyboardInterrupt):
            load_engine(tiny_model, "tensorrt")
        assert stopped == ["stopped"]
