"""Small ONNX networks with random weights, made on the spot for tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tiny_depth_model(
    size: int = 16, batch: int | str = "batch", head_scale: float = 1.0, stride: int = 1
) -> bytes:
    """Two convolutions with the depth network's inputs and outputs; opset 18.

    ``stride`` 2 gives maps of half the picture's side.
    ``head_scale`` multiplies the depth head's weights (1e38 makes its output overflow).
    """
    random = np.random.default_rng(7)
    weights = {
        "body.weight": random.normal(0, 0.3, (8, 3, 3, 3)),
        "body.bias": random.normal(0, 0.3, 8),
        "depth.weight": random.normal(0, 0.3, (1, 8, 3, 3)) * head_scale,
        "mask.weight": random.normal(0, 1.0, (1, 8, 1, 1)),
    }
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "body.weight", "body.bias"],
            ["sum"],
            pads=[1, 1, 1, 1],
            strides=[stride, stride],
        ),
        helper.make_node("Relu", ["sum"], ["features"]),
        helper.make_node("Conv", ["features", "depth.weight"], ["depth"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["features", "mask.weight"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["mask"]),
    ]
    initializers = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    maps = (batch, 1, size // stride, size // stride)
    outputs = [_tensor("depth", maps), _tensor("mask", maps)]
    return build_model(nodes, [_tensor("image", (batch, 3, size, size))], outputs, initializers)


def tiny_depth_numpy(image: np.ndarray, model: bytes) -> tuple[np.ndarray, np.ndarray]:
    """`tiny_depth_model` once more in plain float64 numpy: (N, 3, S, S) to depth and mask (N, 1, S, S)."""
    graph = onnx.load_model_from_string(model).graph
    weights = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    features = _convolve(image.astype(np.float64), weights["body.weight"])
    features = np.maximum(features + weights["body.bias"][:, None, None], 0.0)
    logit = np.einsum("nchw,oc->nohw", features, weights["mask.weight"][:, :, 0, 0])
    return _convolve(features, weights["depth.weight"]), 1 / (1 + np.exp(-logit))


def build_model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
) -> bytes:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _tensor(name: str, shape: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _convolve(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """3x3 correlation with zero padding."""
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # type: ignore[call-overload]
    return np.einsum("nchwyx,ocyx->nohw", windows, weight)
