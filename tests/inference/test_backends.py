"""Choosing a backend, and reading model files."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stream.errors import BackendError, MissingExtraError, ModelError
from stream.inference import backends
from stream.inference.backends import BACKENDS, backend_status, load_engine, read_model


def refuse(monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception]) -> None:
    """Make the named backends raise when they are to be created."""
    create = backends._create

    def refusing(name: str, *arguments: object) -> object:
        if name in errors:
            raise errors[name]
        return create(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backends, "_create", refusing)


def test_auto_takes_the_first_that_can_run_here(tiny_model: bytes) -> None:
    first = next(state.name for state in backend_status() if state.ready)
    assert load_engine(tiny_model, threads=1).backend == first
    assert BACKENDS[:2] == ("tensorrt", "openvino")


def test_auto_passes_over_a_gpu_that_is_not_there_without_a_warning(
    tiny_model: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stream.inference.tensorrt.why_not", lambda: "There is no GPU; get one.")
    with caplog.at_level(logging.INFO):
        assert load_engine(tiny_model, threads=1).backend == "openvino"
    assert "tensorrt is passed over: There is no GPU" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    with pytest.raises(BackendError):
        load_engine(tiny_model, "tensorrt")


def test_auto_warns_of_a_gpu_that_fails(
    tiny_model: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stream.inference.tensorrt.why_not", lambda: None)
    refuse(monkeypatch, {"tensorrt": BackendError("TensorRT could not build the network: no memory.")})
    with caplog.at_level(logging.WARNING):
        assert load_engine(tiny_model, threads=1).backend == "openvino"
    assert "could not build the network: no memory" in caplog.text


@pytest.fixture(autouse=True)
def _without_a_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are of the choice; what a GPU does here is `test_engines`'."""
    monkeypatch.setattr("stream.inference.tensorrt.why_no_library", lambda: "There is no driver; get one.")


def test_half_precision_is_exact_float32_without_a_gpu(tiny_model: bytes) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    half, exact = (
        load_engine(tiny_model, "openvino", threads=1, precision=precision).run({"image": image})["depth"]
        for precision in ("f16", "f32")
    )
    np.testing.assert_array_equal(half, exact)


def test_auto_falls_back_and_says_why(
    tiny_model: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, {"openvino": BackendError("no such plugin; install it with: pip install openvino")})
    with caplog.at_level(logging.WARNING):
        engine = load_engine(tiny_model, threads=1)
    assert engine.backend == "onnxruntime"
    assert "pip install openvino" in caplog.text
    assert "onnxruntime" in caplog.text


def test_when_all_refuse_the_error_gives_every_reason(
    tiny_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(
        monkeypatch,
        {
            "openvino": BackendError("first reason."),
            "onnxruntime": BackendError("second reason."),
            "torch": MissingExtraError("torch", "train"),
        },
    )
    with pytest.raises(BackendError, match=r"first reason.*second reason.*prosopon\[train\]"):
        load_engine(tiny_model)


def test_a_model_nobody_can_read_is_the_models_fault() -> None:
    with pytest.raises(ModelError, match=r"openvino: .*onnxruntime: .*torch: "):
        load_engine(b"this is no model")


def test_a_named_backend_does_not_fall_back(tiny_model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, {"openvino": BackendError("it is not there.")})
    with pytest.raises(BackendError, match=r"^it is not there\.$"):
        load_engine(tiny_model, "openvino")


def test_an_engine_from_a_path_is_that_from_its_bytes(tiny_model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "größe 1.onnx"
    path.write_bytes(tiny_model)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    results = [
        load_engine(model, threads=1).run({"image": image})["depth"]
        for model in (path, str(path), tiny_model)
    ]
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[2])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load_engine(tmp_path / "none.onnx")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="empty"):
        load_engine(tmp_path / "empty.onnx")
    with pytest.raises(ModelError, match="empty"):
        load_engine(b"")


def test_an_oversized_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(backends.MAX_MODEL_BYTES + 1)  # sparse: takes no room on the disk
    with pytest.raises(ModelError, match="larger than a model may be"):
        read_model(path)


def test_folders_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path, tmp_path / "pipe.onnx"):
        with pytest.raises(ModelError, match="not a file"):
            read_model(path)


def test_status_lists_all_backends_ready_here() -> None:
    states = backend_status()
    assert [state.name for state in states] == list(BACKENDS)
    assert all(state.ready and not state.how for state in states if state.name != "tensorrt")
    assert "openvino 20" in states[1].why


def test_status_tells_what_tensorrt_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.inference.tensorrt.installed_library", lambda: None)
    state = backend_status()[0]
    assert (state.name, state.ready, state.why) == ("tensorrt", False, "TensorRT is not installed")
    assert "pip install 'prosopon[gpu]'" in state.how
    monkeypatch.setattr("stream.inference.tensorrt.installed_library", lambda: "tensorrt_rtx")
    state = backend_status()[0]
    assert (state.ready, state.how) == (False, "get one.")
    assert state.why.startswith("tensorrt-rtx")
    assert state.why.endswith("There is no driver")
    monkeypatch.setattr("stream.inference.tensorrt.why_no_library", lambda: None)
    state = backend_status()[0]
    assert (state.ready, state.how) == (True, "")
    assert state.why.startswith("tensorrt-rtx")


def test_status_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = backends.importlib.util.find_spec
    monkeypatch.setattr(
        backends.importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    state = {state.name: state for state in backend_status()}["torch"]
    assert (state.ready, state.why) == (False, "onnx not installed")
    assert state.how == "pip install 'prosopon[train]'"


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_heavy_libraries_are_loaded_only_when_used() -> None:
    code = (
        "import sys, stream.inference, stream.inference.backends, stream.models.store, stream.depth\n"
        "stream.inference.backends.backend_status()\n"
        "print([n for n in ('torch', 'openvino', 'onnxruntime', 'onnx', 'cv2') if n in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_live_inference_never_imports_torch(tiny_model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model)
    code = (
        "import sys, stream.depth.stage\n"
        "from pathlib import Path\n"
        "from stream.inference.backends import load_engine\n"
        f"stage = stream.depth.stage.DepthStage(lambda: load_engine(Path({str(path)!r}), threads=1))\n"
        "stage.open(); stage.close()\n"
        "print('torch' in sys.modules)"
    )
    assert run_python(code).strip() == "False"


@pytest.mark.parametrize(
    ("backend", "library", "advice"),
    [
        ("openvino", "openvino", "pip install openvino"),
        ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
        ("torch", "torch", "prosopon[train]"),
        ("torch", "onnx", "prosopon[train]"),
    ],
)
def test_a_missing_library_names_the_install_command(
    monkeypatch: pytest.MonkeyPatch, tiny_model: bytes, backend: str, library: str, advice: str
) -> None:
    module = f"stream.inference.backend_{backend}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)  # `import` of it raises ImportError
    with pytest.raises(BackendError) as caught:
        load_engine(tiny_model, backend)
    assert advice in str(caught.value)
    assert library in str(caught.value)
