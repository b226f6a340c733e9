"""An ONNX graph with its constants at hand, for the rewriting that TensorRT needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from stream.errors import MissingExtraError, ModelError
from stream.types import Array

_SCALARS = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}


class Graph:
    """A parsed model.

    :ivar onnx: the onnx package.
    :ivar constants: every initializer's value.
    :ivar kinds: element type (``TensorProto.DataType``) and number of axes of every value where known.
    :raises ModelError: the bytes are no valid ONNX model, or it has branches or loops.
    :raises MissingExtraError: the onnx package is not installed.
    """

    def __init__(self, content: bytes) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingExtraError("onnx", "gpu") from error
        self.onnx: Any = onnx
        try:
            self.model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(content))
        except Exception as error:  # protobuf's DecodeError, whichever protobuf implementation is installed
            raise ModelError("The model is no ONNX file or is damaged; get it again.") from error
        if not self.nodes:
            raise ModelError("The model is no ONNX file or is damaged; get it again.")
        if any(item.HasField("g") for node in self.nodes for item in node.attribute):
            raise ModelError("The model has branches or loops, which cannot be rewritten for TensorRT.")
        self.constants: dict[str, Array] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer
        }
        self.kinds = self._kinds()

    @property
    def nodes(self) -> list[Any]:
        """The nodes, each before those that read it."""
        return list(self.model.graph.node)

    @nodes.setter
    def nodes(self, nodes: Iterable[Any]) -> None:
        kept = list(nodes)
        del self.model.graph.node[:]
        self.model.graph.node.extend(kept)

    @property
    def outputs(self) -> set[str]:
        """Names of what the network gives."""
        return {value.name for value in self.model.graph.output}

    def add_constant(self, name: str, value: Array) -> str:
        """A new initializer; returns its name."""
        self.constants[name] = value
        tensor = self.onnx.numpy_helper.from_array(value, name)
        self.model.graph.initializer.append(tensor)
        self.kinds[name] = (tensor.data_type, value.ndim)
        return name

    def constant(self, name: str, what: str) -> Array:
        """A constant by name.

        :raises ModelError: the network computes it; ``what`` names it in the sentence.
        """
        if name not in self.constants:
            raise ModelError(f"The model computes {what} {name!r}, which TensorRT needs as a constant.")
        return self.constants[name]

    def fold_constants(self) -> None:
        """Replace Constant nodes, and casts and expansions of constants, by their values."""
        kept = []
        for node in self.nodes:
            value = self._value_of(node)
            if value is None:
                kept.append(node)
            else:
                self.add_constant(node.output[0], value)
        self.nodes = kept

    def serialise(self) -> bytes:
        """The model's bytes, without the initializers that nothing reads any more."""
        graph = self.model.graph
        used = self.outputs.union(*(node.input for node in self.nodes))
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]  # it told the types from before
        content: bytes = self.model.SerializeToString()
        return content

    def _kinds(self) -> dict[str, tuple[int, int]]:
        graph = self.model.graph
        kinds = {
            value.name: (value.type.tensor_type.elem_type, len(value.type.tensor_type.shape.dim))
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        return kinds | {tensor.name: (tensor.data_type, len(tensor.dims)) for tensor in graph.initializer}

    def _value_of(self, node: Any) -> Array | None:
        if node.op_type == "Constant":
            return self._literal(node.attribute[0])
        if node.op_type not in ("Cast", "Expand") or any(name not in self.constants for name in node.input):
            return None
        value = self.constants[node.input[0]]
        if node.op_type == "Expand":
            shape = np.broadcast_shapes(value.shape, tuple(self.constants[node.input[1]].tolist()))
            return np.ascontiguousarray(np.broadcast_to(value, shape))
        target = next(item.i for item in node.attribute if item.name == "to")
        return np.asarray(value.astype(self.onnx.helper.tensor_dtype_to_np_dtype(target)))

    def _literal(self, attribute: Any) -> Array | None:
        value = self.onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return np.asarray(self.onnx.numpy_helper.to_array(value))
        return np.array(value, _SCALARS[attribute.name]) if attribute.name in _SCALARS else None
