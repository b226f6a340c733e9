"""The backends behind `Engine`: they agree, check their inputs and give their outputs away."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_models import build_model, tiny_depth_model, tiny_depth_numpy

from stream.errors import BackendError, ConfigError, InputError, ModelError
from stream.inference.backends import backend_status, load_engine
from stream.inference.engine import TensorSpec

BACKENDS = tuple(state.name for state in backend_status() if state.ready or state.name != "tensorrt")
"""All backends, TensorRT only where there is a GPU."""

GENERAL = tuple(name for name in BACKENDS if name != "torch")
"""Backends that run any ONNX file."""


def images(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("backend", GENERAL)
@pytest.mark.parametrize("batch", [1, 3])
def test_result_is_that_of_plain_numpy(tiny_model: bytes, backend: str, batch: int) -> None:
    engine = load_engine(tiny_model, backend, threads=1, precision="f32", batch=batch)
    image = images(batch, 16)
    outputs = engine.run({"image": image})
    depth, mask = tiny_depth_numpy(image, tiny_model)
    assert engine.backend == backend
    assert outputs.keys() == {"depth", "mask"}
    np.testing.assert_allclose(outputs["depth"], depth, atol=1e-5)
    np.testing.assert_allclose(outputs["mask"], mask, atol=1e-5)
    assert outputs["depth"].dtype == np.float32


def test_all_backends_agree_on_the_attention_unet(unet_model: bytes) -> None:
    stored = onnx.load_model_from_string(unet_model).graph.initializer
    assert {tensor.data_type for tensor in stored} >= {TensorProto.FLOAT, TensorProto.FLOAT16}
    image = images(2, 32, seed=1)
    results = {
        name: load_engine(unet_model, name, threads=2, precision="f32", batch=2).run({"image": image})
        for name in BACKENDS
    }
    scale = np.abs(results["torch"]["depth"]).max()
    assert 0.05 < scale < 100.0  # the comparison below says something
    assert results["torch"].keys() == {"depth", "mask", "confidence", "normal"}
    assert all(results["torch"][name].std() > 0.01 for name in ("mask", "normal"))
    for name in GENERAL:
        for output, expected in results["torch"].items():
            assert results[name][output].shape == (2, 3 if output == "normal" else 1, 32, 32)
            difference = np.abs(results[name][output] - expected).max()
            assert difference < 1e-4 * max(1.0, scale), (name, output)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_the_callers_own(unet_model: bytes, backend: str) -> None:
    engine = load_engine(unet_model, backend, threads=1)
    first_image, second_image = images(1, 32, seed=2), images(1, 32, seed=3)
    first = engine.run({"image": first_image})
    kept = {name: value.copy() for name, value in first.items()}
    second = engine.run({"image": second_image})
    assert np.abs(second["depth"] - kept["depth"]).max() > 1e-3
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])
        value[:] = np.nan  # and writing to them does not reach the engine
    again = engine.run({"image": first_image})
    np.testing.assert_array_equal(again["depth"], kept["depth"])
    np.testing.assert_array_equal(first_image, images(1, 32, seed=2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_specs_tell_names_shapes_and_types(unet_model: bytes, backend: str) -> None:
    engine = load_engine(unet_model, backend, threads=1, batch=2)
    assert engine.inputs == (TensorSpec("image", (2, 3, 32, 32), "float32"),)
    assert engine.outputs == (
        TensorSpec("depth", (2, 1, 32, 32), "float32"),
        TensorSpec("mask", (2, 1, 32, 32), "float32"),
        TensorSpec("confidence", (2, 1, 32, 32), "float32"),
        TensorSpec("normal", (2, 3, 32, 32), "float32"),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"picture": images(1, 32)},
        {"image": images(1, 32), "more": images(1, 32)},
        {"image": images(2, 32)},
        {"image": images(1, 16)},
        {"image": images(1, 32)[0]},
        {"image": images(0, 32)},
        {"image": images(1, 32).astype(np.float64)},
        {"image": images(1, 32).astype(np.uint8)},
        {"image": images(1, 32).tolist()},
    ],
    ids=["none", "name", "extra", "batch", "size", "rank", "empty", "float64", "uint8", "list"],
)
def test_wrong_inputs_are_refused(unet_model: bytes, backend: str, inputs: dict[str, np.ndarray]) -> None:
    engine = load_engine(unet_model, backend, threads=1)
    with pytest.raises(InputError, match=r"image"):
        engine.run(inputs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_inputs_give_the_same(unet_model: bytes, backend: str) -> None:
    engine = load_engine(unet_model, backend, threads=1, precision="f32")
    image = images(1, 32)
    mirrored = engine.run({"image": image[..., ::-1]})
    copied = engine.run({"image": image[..., ::-1].copy()})
    np.testing.assert_array_equal(mirrored["depth"], copied["depth"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_engine_says_so(unet_model: bytes, backend: str) -> None:
    engine = load_engine(unet_model, backend, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        engine.run({"image": images(1, 32)})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("damage", ["noise", "truncated", "text"])
def test_damaged_models_are_refused(unet_model: bytes, backend: str, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    content = {"noise": noise, "truncated": unet_model[: len(unet_model) // 2], "text": b"hello"}[damage]
    with pytest.raises(ModelError):
        load_engine(content, backend, threads=1)


@pytest.mark.parametrize("backend", GENERAL)
def test_unknown_operations_are_refused(backend: str) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3))
    model = onnx.load_model_from_string(
        build_model([helper.make_node("Relu", ["image"], ["out"])], [image], [out])
    )
    model.graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(ModelError, match=r"cannot (read|take) the model"):
        load_engine(model.SerializeToString(), backend, threads=1)


@pytest.mark.parametrize("backend", GENERAL)
def test_a_fixed_batch_stays_fixed(backend: str) -> None:
    model = tiny_depth_model(batch=2)
    assert load_engine(model, backend, threads=1, batch=2).inputs[0].shape == (2, 3, 16, 16)
    with pytest.raises(ModelError, match="for batches of 3"):
        load_engine(model, backend, threads=1, batch=3)


@pytest.mark.parametrize("backend", GENERAL)
def test_a_second_free_axis_is_refused(backend: str) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, "h", 8))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ("n", 3, "h", 8))
    model = build_model([helper.make_node("Relu", ["image"], ["out"])], [image], [out])
    with pytest.raises(ModelError, match="free axes"):
        load_engine(model, backend, threads=1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"backend": "cuda"},
        {"threads": 0},
        {"threads": -1},
        {"threads": 10**9},
        {"precision": "int3"},
        {"batch": 0},
        {"batch": 10**9},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(tiny_model: bytes, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        load_engine(tiny_model, **arguments)  # type: ignore[arg-type]


class TestTorchRefuses:
    """What the torch backend says of files that are not the project's own networks."""

    def altered(self, model: bytes, **metadata: str) -> bytes:
        proto = onnx.load_model_from_string(model)
        onnx.helper.set_model_props(proto, metadata)
        return proto.SerializeToString()

    def test_no_architecture(self, tiny_model: bytes) -> None:
        with pytest.raises(BackendError, match="architecture"):
            load_engine(tiny_model, "torch")

    @pytest.mark.parametrize("width", ["", "0", "-4", "four", "100000"])
    def test_a_width_that_cannot_be(self, unet_model: bytes, width: str) -> None:
        changed = self.altered(unet_model, architecture="attention_unet", width=width, stem="1")
        with pytest.raises(ModelError, match="width"):
            load_engine(changed, "torch")

    def test_an_option_left_out(self, unet_model: bytes) -> None:
        with pytest.raises(ModelError, match="does not say its stem"):
            load_engine(self.altered(unet_model, architecture="attention_unet", width="4"), "torch")

    def test_a_width_of_another_network(self, unet_model: bytes) -> None:
        with pytest.raises(ModelError, match="do not fit"):
            load_engine(self.altered(unet_model, architecture="attention_unet", width="8", stem="1"), "torch")

    def test_weights_under_other_names(self, unet_model: bytes) -> None:
        proto = onnx.load_model_from_string(unet_model)
        for tensor in proto.graph.initializer:
            if tensor.name == "head.maps.bias":
                tensor.name = "quantised"
        with pytest.raises(BackendError, match=r"head\.maps\.bias"):
            load_engine(proto.SerializeToString(), "torch")

    def test_outputs_of_another_network(self, unet_model: bytes) -> None:
        proto = onnx.load_model_from_string(unet_model)
        proto.graph.output[3].name = "flow"
        with pytest.raises(ModelError, match="'flow'"):
            load_engine(proto.SerializeToString(), "torch")


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_engines_in_two_threads(unet_model: bytes, backend: str) -> None:
    engines = [load_engine(unet_model, backend, threads=1, precision="f32") for _ in range(2)]
    pictures = [images(1, 32, seed=index) for index in range(2)]
    expected = [engine.run({"image": picture}) for engine, picture in zip(engines, pictures, strict=True)]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(40):
            outputs = engines[index].run({"image": pictures[index]})
            if not np.array_equal(outputs["depth"], expected[index]["depth"]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert not np.array_equal(expected[0]["depth"], expected[1]["depth"])


def test_openvino_reports_nothing_to_anybody() -> None:
    code = (
        "import sys, threading\n"
        "import stream.inference.backend_openvino\n"
        "print(sys.modules['openvino_telemetry'], [thread.name for thread in threading.enumerate()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None ['MainThread']\n"
