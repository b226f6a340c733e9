"""`prosopon export trt`, with the real TensorRT-RTX and without a GPU."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
from tiny_models import tiny_depth_model
from typer.testing import CliRunner

from stream.cli import export
from stream.compute.cuda.driver import DeviceInfo
from stream.errors import BackendError, ConfigError, ModelError
from stream.inference import tensorrt_export
from stream.inference.tensorrt import why_not

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed; install it with: pip install 'prosopon[gpu]'",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_depth_model())
    return path


def trt(*arguments: object) -> str:
    result = CliRunner().invoke(export.app, ["trt", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(*arguments: object) -> Exception:
    result = CliRunner().invoke(export.app, ["trt", *map(str, arguments)])
    assert result.exit_code == 1
    assert result.exception is not None
    assert isinstance(result.exception, Exception)
    return result.exception


@needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_plan_for_another_gpu_is_a_file(model: Path, tmp_path: Path, precision: str) -> None:
    figures = tmp_path / "figures.json"
    output = trt(
        model, "--out", tmp_path / "plans", "--arch", "sm_86", "--precision", precision, "--max-batch", 4,
        "--json", figures,
    )  # fmt: skip
    plan = tmp_path / "plans" / f"tiny-{precision}-sm_86.plan"
    result = json.loads(figures.read_text())
    assert plan.stat().st_size == result["bytes"] > 1000
    assert result["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (result["arch"], result["precision"], result["max_batch"]) == ("sm_86", precision, 4)
    assert set(result["loss"]) == ({"depth", "mask"} if precision == "fp16" else set())
    assert all(0 < loss < 0.01 for loss in result["loss"].values())
    assert f"{precision} for sm_86 with tensorrt_rtx" in output
    assert ("in ONNX Runtime" in output) is (precision == "fp16")


@needs_rtx
def test_a_lossy_precision_is_refused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_export, "predicted_loss", lambda content, prepared: {"depth": 0.2})
    error = refused(model, "--out", tmp_path, "--arch", "sm_86")
    assert isinstance(error, ModelError)
    assert "fp16 changes the output 'depth' by 20.00% RMS" in str(error)
    assert not list(tmp_path.glob("*.plan"))


@needs_rtx
def test_an_architecture_it_cannot_build_for_is_said(model: Path, tmp_path: Path) -> None:
    error = refused(model, "--out", tmp_path, "--arch", "sm_90")
    assert isinstance(error, BackendError)
    assert "does not know the GPU architecture sm_90 (it knows sm_75, sm_80, sm_86" in str(error)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--arch", "sm_86"], "say with --out"),
        (["--arch", "8.6", "--out", "plans"], "write it like sm_86"),
        (["--max-batch", "0"], "Batches of 0"),
        (["--max-batch", "100000"], "Batches of 100000"),
    ],
)
def test_arguments_that_make_no_sense(model: Path, arguments: list[str], sentence: str) -> None:
    error = refused(model, *arguments)
    assert isinstance(error, ConfigError)
    assert sentence in str(error)


def test_an_unknown_model_and_a_missing_file(tmp_path: Path) -> None:
    arguments = ("--out", tmp_path, "--arch", "sm_86")
    assert "known: depth" in str(refused("dep", *arguments))
    assert "No such file" in str(refused(tmp_path / "none.onnx", *arguments))


def test_without_a_gpu_it_says_how_to_build_for_another(model: Path) -> None:
    if why_not() is None:
        pytest.skip("this machine can run TensorRT")
    error = refused(model)
    assert isinstance(error, BackendError)
    assert "give --arch and --out" in str(error)


def test_with_a_gpu_the_cache_has_it(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `plan_for` does is `test_backend_tensorrt`'s; here is what becomes of its answer."""

    class Driver:
        info = DeviceInfo("A card", "sm_89", 1, 1, "13.0")

    class Library:
        name, version = "tensorrt", "10.13"

    class Choice:
        precision, loss, from_cache, plan = "fp16", {"depth": 0.0005}, True, b"plan"

    asked: list[tuple[object, ...]] = []

    def plan_for(*arguments: object) -> type[Choice]:
        asked.append(arguments)
        return Choice

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_export, "why_not", lambda: None)
    monkeypatch.setattr(tensorrt_export, "current_driver", Driver)
    monkeypatch.setattr(tensorrt_export, "load_library", Library)
    monkeypatch.setattr(tensorrt_export, "plan_for", plan_for)
    output = trt(model, "--max-batch", 3)
    assert asked[0][1:4] == (model.read_bytes(), False, 3)
    assert "fp16 for A card with tensorrt 10.13, batch 1 to 3" in output
    assert "was in the cache" in output
    assert "lost by fp16 (on the GPU): depth 0.0005" in output
    assert f"{tmp_path}/cache/prosopon/engines" in output.replace(" ", "")
    trt(model, "--precision", "fp32", "--out", tmp_path)
    assert asked[1][2] is True
    assert (tmp_path / "tiny-fp16-sm_89.plan").read_bytes() == b"plan"
