"""Models rewritten for float16 and int8, judged in ONNX Runtime, and the measure of what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stream.errors import MissingExtraError, ModelError
from stream.inference.backends import load_engine
from stream.inference.engine import TensorSpec
from stream.inference.tensorrt_accuracy import BOUNDS, accuracy_loss, probe_inputs, too_lossy
from stream.inference.tensorrt_half import to_half
from stream.inference.tensorrt_int8 import is_quantised, to_symmetric
from stream.inference.tensorrt_plans import predicted_loss, prepare
from stream.models.manifest import MANIFEST

MODELS = MANIFEST.parent / "files"


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto], **constants: Any) -> bytes:
    """A checked network from ``x`` (n, 3, 6, 6)."""
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [tensor("x", "n", 3, 6, 6)], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run(content: bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
    return load_engine(content, "onnxruntime", threads=1, batch=len(inputs["x"])).run(inputs)


def types_of(content: bytes) -> dict[str, int]:
    """Element type of every value."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content)).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def nodes_of(content: bytes) -> list[onnx.NodeProto]:
    return list(onnx.load_model_from_string(content).graph.node)


def pictures(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 6, 6)).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


class TestHalf:
    def network(self) -> bytes:
        """Convolution, normalisation, upsampling, and a head of a product and formulas."""
        nodes = [
            helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["a", "gain", "bias", "mean", "var"], ["b"], epsilon=1e-3),
            helper.make_node("Clip", ["b", "low", "high"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "gain", "bias", "mean", "var"], ["d"]),
            helper.make_node("Resize", ["d", "", "scales"], ["e"], mode="linear"),
            helper.make_node("Softsign", ["e"], ["f"]),
            helper.make_node("Conv", ["f", "w2"], ["g"]),
            helper.make_node("Sigmoid", ["g"], ["y"]),
        ]
        return model_of(
            nodes, [tensor("y", "n", 2, 12, 12), tensor("d", "n", 4, 6, 6)], w1=normal(4, 3, 3, 3),
            w2=normal(2, 4, 1, 1, seed=1), gain=normal(4, seed=2), bias=normal(4, seed=3),
            mean=normal(4, seed=4),
            var=np.array([1e-9, 1e-4, 1.0, 3e5], np.float32), low=np.float32(-1), high=np.float32(6),
            scales=np.array([1, 1, 2, 2], np.float32),
        )  # fmt: skip

    def test_it_gives_the_same_up_to_float16(self) -> None:
        content, x = self.network(), pictures()
        found, expected = run(to_half(content), x=x), run(content, x=x)
        for name, exact in expected.items():
            assert found[name].dtype == np.float32
            error = np.abs(found[name] - exact).max() / np.abs(exact).max()
            assert 0 < error < 2e-3, name

    def test_only_what_comes_before_a_product_is_float16(self) -> None:
        half = to_half(self.network())
        types, made = types_of(half), {name: node for node in nodes_of(half) for name in node.output}
        assert {types[name] for name in ("x", "y", "d", "f", "g")} == {TensorProto.FLOAT}
        assert "BatchNormalization" not in {node.op_type for node in made.values()}
        for name in made:
            wanted = TensorProto.FLOAT16 if name.endswith(".float16") else TensorProto.FLOAT
            assert types[name] == wanted, name
        operations = {node.op_type for name, node in made.items() if name.endswith(".float16")}
        assert operations == {"Cast", "Conv", "Clip", "Mul", "Add", "Resize"}
        assert made["g"].op_type == "Conv"
        assert types[made["g"].input[0]] == TensorProto.FLOAT

    def test_the_scales_of_a_resize_stay_float32(self) -> None:
        (resize,) = (node for node in nodes_of(to_half(self.network())) if node.op_type == "Resize")
        assert list(resize.input[1:]) == ["", "scales"]

    def test_a_constant_too_large_for_float16_keeps_its_node_in_float32(self) -> None:
        nodes = [
            helper.make_node("Mul", ["x", "large"], ["a"], name="mul"),
            helper.make_node("Mul", ["a", "small"], ["b"]),
            helper.make_node("Conv", ["b", "w"], ["y"]),
        ]
        content = model_of(
            nodes, [tensor("y", "n", 1, 6, 6)], large=np.float32(1e6), small=np.float32(1e-3),
            w=normal(1, 3, 1, 1),
        )  # fmt: skip
        found, expected = run(to_half(content), x=pictures()), run(content, x=pictures())
        np.testing.assert_allclose(found["y"], expected["y"], rtol=4e-3, atol=0.5)
        assert types_of(to_half(content))["a"] == TensorProto.FLOAT

    def test_a_result_read_twice_is_cast_once(self) -> None:
        nodes = [
            helper.make_node("Exp", ["x"], ["a"]),
            helper.make_node("Conv", ["a", "w"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Conv", ["c", "w"], ["y"]),
        ]
        content = model_of(nodes, [tensor("y", "n", 3, 6, 6)], w=normal(3, 3, 1, 1))
        half = to_half(content)
        assert sum(node.op_type == "Cast" and node.input[0] == "a" for node in nodes_of(half)) == 1
        np.testing.assert_allclose(
            run(half, x=pictures())["y"], run(content, x=pictures())["y"], rtol=1e-2, atol=5e-3
        )

    def test_a_normalisation_of_what_others_read_too_is_not_folded(self) -> None:
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["a"]),
            helper.make_node("BatchNormalization", ["a", "one", "b", "b", "one"], ["n1"]),
            helper.make_node("Add", ["a", "n1"], ["c"]),
            helper.make_node("Conv", ["c", "w", "b"], ["y"]),
        ]
        content = model_of(
            nodes, [tensor("y", "n", 3, 6, 6)], w=normal(3, 3, 1, 1), b=normal(3),
            one=np.full(3, 0.7, np.float32),
        )  # fmt: skip
        np.testing.assert_allclose(
            run(to_half(content), x=pictures())["y"], run(content, x=pictures())["y"], rtol=2e-2, atol=5e-3
        )

    def test_weights_stored_as_float16_and_constants_in_nodes_are_folded(self) -> None:
        nodes = [
            helper.make_node("Cast", ["stored"], ["w"], to=TensorProto.FLOAT),
            helper.make_node("Constant", [], ["zero"], value_floats=[0.0]),
            helper.make_node("Constant", [], ["sides"], value_ints=[3]),
            helper.make_node("Expand", ["zero", "sides"], ["b"]),
            helper.make_node("Conv", ["x", "w", "b"], ["a"]),
            helper.make_node("Conv", ["a", "w", "b"], ["y"]),
        ]
        content = model_of(nodes, [tensor("y", "n", 3, 6, 6)], stored=normal(3, 3, 1, 1).astype(np.float16))
        half = to_half(content)
        assert [node.op_type for node in nodes_of(half)] == ["Cast", "Conv", "Cast", "Conv"]
        np.testing.assert_allclose(
            run(half, x=pictures())["y"], run(content, x=pictures())["y"], rtol=1e-2, atol=2e-3
        )

    def test_branches_are_refused(self) -> None:
        body = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["z"])], "body", [], [tensor("z", "n", 3, 6, 6)]
        )
        node = helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)
        with pytest.raises(ModelError, match="branches or loops"):
            to_half(model_of([node], [tensor("y", "n", 3, 6, 6)], yes=np.array(True)))

    @pytest.mark.parametrize("rewrite", [to_half, to_symmetric])
    @pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 99])
    def test_what_is_no_model_is_refused(self, rewrite, content: bytes) -> None:
        with pytest.raises(ModelError, match="no ONNX file"):
            rewrite(content)

    def test_without_onnx_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "onnx", None)
        with pytest.raises(MissingExtraError, match=r"prosopon\[gpu\]"):
            to_half(b"")


class TestSymmetric:
    def network(self, zero: int, kind: type = np.uint8) -> bytes:
        """Q, DQ and a convolution with int8 weights and an int32 bias, as ONNX Runtime quantises."""
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
            helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], axis=0),
            helper.make_node("DequantizeLinear", ["bq", "bs", "bz"], ["b"], axis=0),
            helper.make_node("Conv", ["xd", "w", "b"], ["y"]),
        ]
        weights = np.random.default_rng(0).integers(-127, 128, (2, 3, 1, 1), dtype=np.int8)
        return model_of(
            nodes, [tensor("y", "n", 2, 6, 6)], s=np.float32(1 / 128), z=kind(zero), wq=weights,
            ws=np.array([0.01, 0.02], np.float32), wz=np.zeros(2, np.int8),
            bq=np.array([500, -70000], np.int32), bs=np.array([1e-4, 1e-5], np.float32),
            bz=np.zeros(2, np.int32),
        )  # fmt: skip

    @pytest.mark.parametrize("zero", [0, 100, 128, 255])
    def test_it_is_the_symmetric_range_that_holds_the_old_one(self, zero: int) -> None:
        content, x = self.network(zero), pictures()
        proto = onnx.load_model_from_string(to_symmetric(content))
        values = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
        scale = max(zero, 255 - zero) / 128 / 127
        weights = values["wq"] * np.array([0.01, 0.02]).reshape(2, 1, 1, 1)
        rounded = np.clip(np.rint(x / np.float32(scale)), -128, 127) * scale
        expected = np.einsum("nchw,oc->nohw", rounded, weights[:, :, 0, 0])
        expected += np.array([500e-4, -70000e-5]).reshape(2, 1, 1)
        np.testing.assert_allclose(run(proto.SerializeToString(), x=x)["y"], expected, atol=1e-4)
        assert not {np.dtype(np.uint8), np.dtype(np.int32)} & {value.dtype for value in values.values()}

    def test_what_is_symmetric_already_stays(self) -> None:
        content, x = self.network(0, np.int8), pictures()
        found, expected = run(to_symmetric(content), x=x), run(content, x=x)
        np.testing.assert_allclose(found["y"], expected["y"], atol=1e-6)

    def test_a_zero_point_that_weights_do_not_name_is_0(self) -> None:
        proto = onnx.load_model_from_string(self.network(0, np.int8))
        (node,) = [node for node in proto.graph.node if node.output[0] == "w"]
        del node.input[2]
        content, x = proto.SerializeToString(), pictures()
        np.testing.assert_allclose(run(to_symmetric(content), x=x)["y"], run(content, x=x)["y"], atol=1e-6)

    def test_shifted_int8_is_refused(self) -> None:
        with pytest.raises(ModelError, match="int8 around 3"):
            to_symmetric(self.network(3, np.int8))

    def test_a_computed_scale_is_refused(self) -> None:
        proto = onnx.load_model_from_string(self.network(0))
        proto.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["scale"], keepdims=0))
        for node in proto.graph.node:
            node.input[:] = ["scale" if name == "s" else name for name in node.input]
        with pytest.raises(ModelError, match="computes the scale 'scale'"):
            to_symmetric(proto.SerializeToString())


def test_quantised_models_are_told_apart() -> None:
    assert not is_quantised((MODELS / "depth.onnx").read_bytes())
    assert is_quantised(TestSymmetric().network(0))


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_shipped_models_lose_little(path: Path) -> None:
    """The rounding of a GPU, in ONNX Runtime."""
    content = path.read_bytes()
    precision: Literal["int8", "fp16"] = "int8" if is_quantised(content) else "fp16"
    loss = predicted_loss(content, prepare(content, precision))
    assert {"depth", "mask", "confidence"} <= set(loss)
    assert too_lossy(loss, precision) is None
    assert max(loss.values()) > 1e-5


class TestLoss:
    def engine(self, **outputs: np.ndarray):
        class Engine:
            def run(self, inputs):
                return {name: value.astype(np.float32) for name, value in outputs.items()}

        return Engine()

    def test_it_is_the_relative_rms_of_the_worst_input(self) -> None:
        exact, changed = np.array([3.0, 4.0]), np.array([3.0, 4.5])
        loss = accuracy_loss(self.engine(a=changed, b=exact), self.engine(a=exact, b=exact), [{}, {}])
        assert loss == {"a": pytest.approx(0.5 / 5.0), "b": 0.0}

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_values_that_are_not_finite_are_infinitely_wrong(self, bad: float) -> None:
        exact = self.engine(a=np.ones(4))
        assert accuracy_loss(self.engine(a=np.array([1, 1, bad, 1])), exact, [{}]) == {"a": np.inf}
        both = self.engine(a=np.array([1, bad]))
        assert accuracy_loss(both, both, [{}]) == {"a": 0.0}

    def test_a_missing_output_is_infinitely_wrong(self) -> None:
        loss = accuracy_loss(self.engine(), self.engine(a=np.ones(1)), [{}])
        assert loss == {"a": np.inf}
        assert too_lossy(loss, "fp16") is not None

    def test_an_output_of_zeros(self) -> None:
        zeros = self.engine(a=np.zeros(3))
        assert accuracy_loss(zeros, zeros, [{}]) == {"a": 0.0}
        assert accuracy_loss(self.engine(a=np.ones(3)), zeros, [{}])["a"] > 1e6

    def test_the_bound_decides(self) -> None:
        assert too_lossy({"a": BOUNDS["fp16"]}, "fp16") is None
        assert too_lossy({}, "fp16") is None
        assert too_lossy({"a": 9.0}, "fp32") is None
        reason = too_lossy({"a": 0.001, "b": 0.0512}, "fp16")
        assert reason == "fp16 changes the output 'b' by 5.12% RMS, and at most 2% may be"

    def test_probes_are_faces_the_same_each_time(self) -> None:
        specs = (TensorSpec("image", (2, 3, 48, 48), "float32"), TensorSpec("other", (2, 5), "float16"))
        first, second = probe_inputs(specs), probe_inputs(specs)
        assert len(first) == 3
        for a, b in zip(first, second, strict=True):
            for spec in specs:
                assert a[spec.name].shape == spec.shape
                assert a[spec.name].dtype == spec.dtype
                np.testing.assert_array_equal(a[spec.name], b[spec.name])
                assert np.abs(a[spec.name]).max() <= 1
        assert np.abs(first[0]["image"] - first[1]["image"]).mean() > 0.02

    def test_the_depth_network_sees_a_head_in_the_probes(self) -> None:
        engine = load_engine(MODELS / "depth.onnx", "onnxruntime", threads=1)
        for inputs in probe_inputs(engine.inputs):
            mask = engine.run(inputs)["mask"][0, 0]
            side = mask.shape[0]
            assert mask[side // 3 : -side // 3, side * 2 // 5 : -side * 2 // 5].mean() > 0.95
            assert mask[: side // 4, : side // 8].mean() < 0.1
