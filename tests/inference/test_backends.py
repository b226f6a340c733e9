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


def test_auto_takes_openvino_first(tiny_model: bytes) -> None:
    assert load_engine(tiny_model, threads=1).backend == BACKENDS[0] == "openvino"


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
    assert all(state.ready and not state.how for state in states)
    assert "openvino 20" in states[0].why


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
        "import sys, stream.inference, stream.inference.backends, stream.inference.store, stream.depth\n"
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
        f"stage = stream.depth.stage.DepthStage(model=Path({str(path)!r}), threads=1)\n"
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
