"""A quantised ONNX model (Q/DQ nodes) rewritten to the int8 that TensorRT knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream.errors import ModelError
from stream.inference.tensorrt_graph import Graph

LARGEST = 127


def is_quantised(content: bytes) -> bool:
    """Whether the model holds Q/DQ nodes; told without an ONNX library, as the file spells operators out."""
    return b"DequantizeLinear" in content


def to_symmetric(content: bytes) -> bytes:
    """The quantised model in int8 with the zero point 0 throughout.

    On GPUs TensorRT has neither unsigned nor shifted int8, nor int32 to dequantise, and ONNX Runtime's
    quantiser writes all of them. So constants in int32 (the biases) become float32, and a range of uint8
    becomes the symmetric one that holds it: scale ``max(z, 255 - z) s / 127``, what a symmetric quantiser
    would have found from the same minimum and maximum. A one-sided range loses one of its eight bits.

    :raises ModelError: the bytes are no valid ONNX model, it has branches or loops, or a scale or zero point
        is computed, or an int8 zero point is not 0.
    :raises MissingExtraError: the onnx package is not installed.
    """
    graph = Graph(content)
    graph.fold_constants()
    kept = []
    for node in graph.nodes:
        if _is_wide(graph, node):
            values, scale = (graph.constant(name, "the scale") for name in node.input[:2])
            graph.add_constant(node.output[0], (values * scale.astype(np.float64)).astype(np.float32))
            continue
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _make_symmetric(graph, node)
        kept.append(node)
    graph.nodes = kept
    return graph.serialise()


def _is_wide(graph: Graph, node: Any) -> bool:
    value = graph.constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    return value is not None and value.dtype == np.int32


def _make_symmetric(graph: Graph, node: Any) -> None:
    """Change a Q or DQ node of uint8 to int8 with another scale."""
    weights = graph.constants.get(node.input[0])
    if len(node.input) < 3 and weights is not None and weights.dtype == np.int8:
        return  # around 0, as the standard has it where no zero point is named
    if len(node.input) < 3:
        raise ModelError(f"The model's {node.op_type} {node.name!r} names no zero point; quantise it anew.")
    zero = graph.constant(node.input[2], "the zero point")
    if zero.dtype == np.int8 and not zero.any():
        return
    if zero.dtype != np.uint8 or weights is not None:
        raise ModelError(
            f"The model's {node.op_type} {node.name!r} has {zero.dtype.name} around {zero}, which TensorRT "
            "cannot run; quantise its weights to int8 around 0."
        )
    scale = graph.constant(node.input[1], "the scale").astype(np.float64)
    reach = np.maximum(zero.astype(np.float64), 255.0 - zero)
    names = [f"{node.input[1]}.{node.input[2]}.{part}" for part in ("scale", "zero")]
    if names[0] not in graph.constants:
        graph.add_constant(names[0], (reach * scale / LARGEST).astype(np.float32))
        graph.add_constant(names[1], np.zeros_like(zero, dtype=np.int8))
    node.input[1], node.input[2] = names
