"""Building plans with the real TensorRT-RTX, which needs no GPU, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tiny_models import tiny_depth_model

from stream.errors import BackendError, MissingExtraError, ModelError
from stream.inference import tensorrt
from stream.inference.tensorrt import (
    BuildOptions,
    Library,
    build_plan,
    check_architecture,
    dtype_name,
    installed_library,
    load_library,
    why_not,
)
from stream.inference.tensorrt_plans import precision_of, prepare
from stream.inference.tensorrt_progress import Phases, run_with_bar
from stream.models.manifest import MANIFEST

MODELS = sorted((MANIFEST.parent / "files").glob("*.onnx"))

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt-rtx is not installed; install it with: pip install 'prosopon[gpu]'",
)


@pytest.fixture(scope="module")
def rtx() -> Library:
    return load_library(portable=True)


def model_of(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = ("n", 3, 8, 8)) -> bytes:
    """A network from ``x`` to ``y``; its nodes may be of no known operator."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph(list(nodes), "tiny", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("our.own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


@needs_rtx
@pytest.mark.parametrize("arch", ["sm_86", "sm_89", "sm_120"])
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_shipped_model_builds(rtx: Library, path: Path, arch: str) -> None:
    content = path.read_bytes()
    prepared = prepare(content, precision_of(content, exact=False))
    built = build_plan(rtx, prepared, BuildOptions(max_batch=4, arch=arch))
    assert len(built.plan) > 1_000_000
    assert built.timing_cache == b""


@needs_rtx
def test_the_shipped_float_model_builds_exactly(rtx: Library) -> None:
    content = next(path for path in MODELS if path.stem == "depth").read_bytes()
    assert precision_of(content, exact=True) == "fp32"
    assert len(build_plan(rtx, content, BuildOptions(arch="sm_86", exact=True)).plan) > 1_000_000


def test_shipped_models_are_there_in_both_kinds() -> None:
    precisions = {path.stem: precision_of(path.read_bytes(), exact=False) for path in MODELS}
    assert precisions["depth"] == "fp16"
    assert precisions["depth-live"] == "int8"


@needs_rtx
class TestRefusals:
    def test_an_unknown_operation_is_named(self, rtx: Library) -> None:
        model = model_of(
            helper.make_node("Relu", ["x"], ["a"], name="first"),
            helper.make_node("Wobble", ["a"], ["y"], name="strange", domain="our.own"),
        )
        with pytest.raises(ModelError, match=r"node 1 \(strange, Wobble\): it does not know this operation;"):
            build_plan(rtx, model, BuildOptions(arch="sm_86"))

    def test_an_unsupported_operation_is_named(self, rtx: Library) -> None:
        model = model_of(
            helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Det", ["a"], ["y"], name="determinant")
        )
        with pytest.raises(ModelError, match=r"node 1 \(determinant, Det\): it does not support this"):
            build_plan(rtx, model, BuildOptions(arch="sm_86"))

    def test_an_asymmetric_quantisation_is_named(self, rtx: Library) -> None:
        path = next(path for path in MODELS if path.stem == "depth-live")
        with pytest.raises(ModelError, match=r"QuantizeLinear\): .*zero point"):
            build_plan(rtx, path.read_bytes(), BuildOptions(arch="sm_86"))

    @pytest.mark.parametrize("content", [b"this is no model", b"\x00" * 64, b"\xff" * 64])
    def test_what_is_no_model_is_said_to_be_none(self, rtx: Library, content: bytes) -> None:
        with pytest.raises(ModelError):
            build_plan(rtx, content, BuildOptions(arch="sm_86"))

    def test_a_truncated_model(self, rtx: Library, tiny_model: bytes) -> None:
        with pytest.raises(ModelError):
            build_plan(rtx, tiny_model[: len(tiny_model) // 2], BuildOptions(arch="sm_86"))

    def test_only_the_first_axis_may_be_free(self, rtx: Library) -> None:
        model = model_of(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 3, "h", 8))
        with pytest.raises(ModelError, match="free axes"):
            build_plan(rtx, model, BuildOptions(arch="sm_86"))

    def test_a_fixed_batch_is_another_batch(self, rtx: Library) -> None:
        model = tiny_depth_model(batch=2)
        assert build_plan(rtx, model, BuildOptions(max_batch=2, arch="sm_86")).plan
        with pytest.raises(ModelError, match="for batches of 3"):
            build_plan(rtx, model, BuildOptions(max_batch=3, arch="sm_86"))

    @pytest.mark.parametrize("arch", ["sm_90", "sm_70", "SM_86"])
    def test_an_architecture_it_does_not_know(self, rtx: Library, tiny_model: bytes, arch: str) -> None:
        with pytest.raises(BackendError, match=f"does not know the GPU architecture {arch} .*sm_86"):
            build_plan(rtx, tiny_model, BuildOptions(arch=arch))


def test_tensorrt_itself_builds_for_its_own_gpu_only() -> None:
    library = Library("tensorrt", None, None)
    assert library.architectures() == ()
    with pytest.raises(BackendError, match="for the GPU it runs on only, not for sm_86"):
        check_architecture(library, "sm_86")


@needs_rtx
class TestProgress:
    def test_it_grows_to_the_end(self, rtx: Library, tiny_model: bytes) -> None:
        shares: list[float] = []

        def report(phase: str, share: float) -> bool:
            shares.append(share)
            return True

        build_plan(rtx, tiny_model, BuildOptions(arch="sm_86"), report)
        assert len(shares) > 10
        assert shares == sorted(shares)
        assert shares[0] < 0.3
        assert 0.6 < shares[-1] <= 1.0

    def test_a_build_that_is_stopped_gives_no_plan(self, rtx: Library, tiny_model: bytes) -> None:
        calls: list[float] = []

        def report(phase: str, share: float) -> bool:
            calls.append(share)
            return len(calls) < 5

        with pytest.raises(BackendError, match="it was stopped"):
            build_plan(rtx, tiny_model, BuildOptions(arch="sm_86"), report)
        assert len(calls) < 10

    def test_it_runs_beside_the_thread_that_waits(self, rtx: Library, tiny_model: bytes) -> None:
        threads = set[int]()

        def report(phase: str, share: float) -> bool:
            threads.add(threading.get_ident())
            return True

        options = BuildOptions(arch="sm_86")
        built = run_with_bar("Building", lambda progress: build_plan(rtx, tiny_model, options, report))
        assert built.plan
        assert threading.get_ident() not in threads

    def test_what_goes_wrong_there_is_raised_here(self) -> None:
        def work(progress: object) -> None:
            raise ModelError("no such node")

        with pytest.raises(ModelError, match="no such node"):
            run_with_bar("Building", work)


def test_phases_within_phases_are_shares_of_a_step() -> None:
    phases = Phases()
    phases.start("whole", None, 4)
    phases.step("whole", 0)
    assert phases.share() == 0.25
    phases.start("part", "whole", 2)
    phases.step("part", 0)
    assert phases.share() == 0.25 + 0.25 / 2
    phases.start("detail", "part", 10)
    phases.step("detail", 4)
    assert phases.share() == pytest.approx(0.25 + 0.25 * (0.5 + 0.5 / 2))
    phases.finish("detail")
    phases.finish("part")
    assert phases.share() == pytest.approx(0.25 + 0.25 * 0.75)  # it never goes back
    phases.step("whole", 1)
    phases.step("unknown", 1)
    assert phases.share() == 0.5


@needs_rtx
def test_dtypes_are_numpys(rtx: Library) -> None:
    assert dtype_name(rtx, rtx.module.DataType.HALF) == "float16"
    assert dtype_name(rtx, rtx.module.DataType.BOOL) == "bool"
    with pytest.raises(ModelError, match="numpy does not know"):
        dtype_name(rtx, rtx.module.DataType.BF16)


class TestLibrary:
    def test_tensorrt_comes_before_rtx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = {"tensorrt", "tensorrt_rtx"}
        monkeypatch.setattr(
            tensorrt.importlib.util, "find_spec", lambda name: object() if name in there else None
        )
        assert installed_library() == "tensorrt"
        there.remove("tensorrt")
        assert installed_library() == "tensorrt_rtx"
        there.clear()
        assert installed_library() is None
        assert "pip install 'prosopon[gpu]'" in str(why_not())

    def test_without_a_driver_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tensorrt, "installed_library", lambda: "tensorrt_rtx")
        monkeypatch.setattr(tensorrt, "why_no_library", lambda: "There is no driver; use --compute numba.")
        assert why_not() == "There is no driver; use --inference openvino."
        monkeypatch.setattr(tensorrt, "why_no_library", lambda: None)
        assert why_not() is None

    def test_a_library_that_does_not_import_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Old:
            __version__ = "10.0.1"

            class ILogger:
                INTERNAL_ERROR, ERROR, WARNING = range(3)

        def refuse(name: str) -> object:
            if name == "tensorrt":
                return Old
            raise ImportError("libcudart is missing")

        monkeypatch.setattr(tensorrt.importlib, "import_module", refuse)
        with pytest.raises(MissingExtraError, match="TensorRT is not installed"):
            load_library.__wrapped__()
        Old.__version__ = "10.1.0"
        assert load_library.__wrapped__().name == "tensorrt"


def test_nothing_of_it_is_imported_without_a_driver(tiny_model: bytes, tmp_path: Path) -> None:
    if why_not() is None:
        pytest.skip("this machine can run TensorRT")
    (tmp_path / "tiny.onnx").write_bytes(tiny_model)
    code = (
        "import sys, logging; logging.basicConfig(level=logging.WARNING)\n"
        "from stream.inference.backends import load_engine\n"
        f"engine = load_engine({str(tmp_path / 'tiny.onnx')!r}, threads=1)\n"
        "heavy = {'tensorrt', 'tensorrt_rtx', 'onnx', 'cuda.bindings'} & set(sys.modules)\n"
        "print(engine.backend, heavy or '')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino"
    assert done.stderr == ""  # nobody is warned of a GPU that is not there
