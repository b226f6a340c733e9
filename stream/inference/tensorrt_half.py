"""A float32 ONNX model rewritten to float16 arithmetic, as TensorRT's strongly typed networks want it.

TensorRT-RTX and TensorRT 11 have no switch for float16 any more: the file says every tensor's type. TensorRT
10 is used the same way, so that precision means one thing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from stream.inference.tensorrt_graph import Graph
from stream.types import Array

_HALF = """
Add AveragePool Clip Concat Conv ConvTranspose Expand Flatten Gemm GlobalAveragePool HardSigmoid HardSwish
Identity LeakyRelu MatMul MaxPool Mul Pad PRelu Relu Reshape Resize Sigmoid Slice Split Squeeze Sub Tanh
Transpose Unsqueeze"""

HALF_OPERATIONS = frozenset(_HALF.split())
"""What may be computed in float16; long sums, quotients, powers, roots and exponentials stay in float32."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What takes the time, and what float16 is for."""


def to_half(content: bytes) -> bytes:
    """The model with float16 arithmetic up to its last products; inputs and outputs keep their types.

    A node becomes float16 if it is one of `HALF_OPERATIONS` and a convolution or matrix product comes after
    it. The last products, and the closed formulas behind them that make the outputs, stay in float32, as our
    networks' heads do in training. Batch normalisation becomes part of the convolution before it, or one
    product and one sum, worked out in float64: its variances do not survive float16.

    :raises ModelError: the bytes are no valid ONNX model, or it has branches or loops.
    :raises MissingExtraError: the onnx package is not installed.
    """
    graph = Graph(content)
    graph.fold_constants()
    _fold_batch_norms(graph)
    _HalfWriter(graph).write()
    return graph.serialise()


def _fold_batch_norms(graph: Graph) -> None:
    uses = Counter(name for node in graph.nodes for name in node.input)
    uses.update(graph.outputs)
    kept: list[Any] = []
    makers: dict[str, Any] = {}
    for node in graph.nodes:
        terms = _scale_and_shift(graph, node)
        before = makers.get(node.input[0]) if node.input else None
        if terms is None:
            kept.append(node)
        elif before is not None and uses[node.input[0]] == 1 and _scale_convolution(graph, before, *terms):
            before.output[0] = node.output[0]
        else:
            kept.extend(_product_and_sum(graph, node, *terms))
        makers[node.output[0]] = kept[-1] if terms is None else None
    graph.nodes = kept


def _scale_and_shift(graph: Graph, node: Any) -> tuple[Array, Array] | None:
    """A batch normalisation with constant parameters as ``scale * x + shift`` per channel, float64."""
    if node.op_type != "BatchNormalization" or any(name not in graph.constants for name in node.input[1:]):
        return None
    gain, bias, mean, variance = (graph.constants[name].astype(np.float64) for name in node.input[1:])
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    scale = gain / np.sqrt(variance + epsilon)
    return scale, bias - mean * scale


def _scale_convolution(graph: Graph, node: Any, scale: Array, shift: Array) -> bool:
    """Multiply a convolution's result per channel; false where it is none or has no constant weights."""
    if node.op_type != "Conv" or any(name not in graph.constants for name in node.input[1:]):
        return False
    weight = graph.constants[node.input[1]].astype(np.float64)
    bias = graph.constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else 0.0
    weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    name = node.output[0]
    folded = {"weight": weight, "bias": bias * scale + shift}
    names = [graph.add_constant(f"{name}.{key}", value.astype(np.float32)) for key, value in folded.items()]
    del node.input[1:]
    node.input.extend(names)
    return True


def _product_and_sum(graph: Graph, node: Any, scale: Array, shift: Array) -> list[Any]:
    name, (kind, axes) = node.output[0], graph.kinds[node.input[0]]
    shape = (-1, *[1] * (axes - 2))
    graph.add_constant(f"{name}.scale", scale.astype(np.float32).reshape(shape))
    graph.add_constant(f"{name}.shift", shift.astype(np.float32).reshape(shape))
    graph.kinds[f"{name}.scaled"] = kind, axes
    make = graph.onnx.helper.make_node
    return [
        make("Mul", [node.input[0], f"{name}.scale"], [f"{name}.scaled"]),
        make("Add", [f"{name}.scaled", f"{name}.shift"], [name]),
    ]


class _HalfWriter:
    """Rewrites the nodes that may be float16, with casts where they meet the others."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = graph.onnx.TensorProto
        self.opset = next(item.version for item in graph.model.opset_import if item.domain in ("", "ai.onnx"))
        self.halves: dict[str, str] = {}  # a float32 value's name to its float16 counterpart's
        self.written: list[Any] = []

    def write(self) -> None:
        chosen = self._chosen()
        kept_float = self.graph.outputs
        for node in self.graph.nodes:
            if node.output[0] not in chosen:
                kept_float.update(node.input)
        for node in self.graph.nodes:
            if node.output[0] in chosen:
                self._write_half(node, kept_float)
            else:
                self.written.append(node)
        self.graph.nodes = self.written

    def _chosen(self) -> set[str]:
        """First outputs of the nodes that become float16."""
        chosen, feeding = set(), set[str]()  # `feeding`: values that a product depends on
        for node in reversed(self.graph.nodes):
            before_a_product = not feeding.isdisjoint(node.output)
            if before_a_product or node.op_type in PRODUCTS:
                feeding.update(node.input)
            if before_a_product and node.op_type in HALF_OPERATIONS and self._fits(node):
                chosen.add(node.output[0])
        return chosen

    def _fits(self, node: Any) -> bool:
        """Whether a node gives float32 and its constants stay finite in float16."""
        largest = np.finfo(np.float16).max
        constants = [
            self.graph.constants[name] for name in self._convertible(node) if name in self.graph.constants
        ]
        return all(self._is_float(name) for name in node.output) and all(
            value.size == 0 or np.abs(value).max() <= largest for value in constants
        )

    def _convertible(self, node: Any) -> list[str]:
        """The float32 inputs whose type the operation leaves open, unlike the scales of a Resize."""
        schema = self.graph.onnx.defs.get_schema(node.op_type, self.opset, node.domain)
        open_types = {item.type_param_str for item in schema.type_constraints}
        formals = schema.inputs
        return [
            name
            for index, name in enumerate(node.input)
            if self._is_float(name) and formals[min(index, len(formals) - 1)].type_str in open_types
        ]

    def _is_float(self, name: str) -> bool:
        return self.graph.kinds.get(name, (None,))[0] == self.types.FLOAT

    def _write_half(self, node: Any, kept_float: set[str]) -> None:
        half = {name: self._half(name) for name in self._convertible(node)}
        inputs = [half.get(name, name) for name in node.input]
        names = list(node.output)
        outputs = [f"{name}.float16" for name in names]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
        self.written.append(node)
        for name, target in zip(names, outputs, strict=True):
            self.halves[name] = target
            if name in kept_float:
                self._cast(target, name, self.types.FLOAT)

    def _half(self, name: str) -> str:
        """The float16 counterpart of a value, cast here if it is none's result."""
        if name not in self.halves:
            self.halves[name] = f"{name}.float16"
            if name in self.graph.constants:
                self.graph.add_constant(self.halves[name], self.graph.constants[name].astype(np.float16))
            else:
                self._cast(name, self.halves[name], self.types.FLOAT16)
        return self.halves[name]

    def _cast(self, name: str, target: str, kind: int) -> None:
        self.written.append(self.graph.onnx.helper.make_node("Cast", [name], [target], to=kind))
