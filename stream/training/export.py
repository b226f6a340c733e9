"""From a checkpoint to the ONNX files that are shipped."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stream.depth.unet import LEVELS, AttentionUNet
from stream.errors import MissingExtraError, ModelError
from stream.inference.backends import load_engine
from stream.types import Array

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("onnx", "train") from error

OPSET = 18
ARCHITECTURE = "attention_unet"
HALF_FROM = 1024
"""Weights of at least so many values are stored as float16; biases and batch statistics stay exact."""

FULL_RESOLUTION = ("encoder.0.", f"decoder.{LEVELS - 2}.", "head.")
"""Beginnings of the names of the weights that work at the picture's own resolution."""

PARITY = 1e-3
"""Largest difference allowed between the file and the torch module with the same weights."""


class _Exported(AttentionUNet):
    """The network as it is shipped: the mask as a probability. Weights keep their names."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        depth, logit = super().forward(image)
        return depth, torch.sigmoid(logit)


def export_onnx(network: AttentionUNet, size: int) -> Any:
    """The network as an ONNX model (a ``ModelProto``) with float16 weights and float32 arithmetic.

    Input ``image`` (N, 3, size, size) float32 in [-1, 1]; outputs ``depth`` (N, 1, size, size) crop units
    and ``mask`` (N, 1, size, size) in 0..1. The initializers carry the names of the torch ``state_dict``;
    the metadata holds ``architecture``, ``width`` and ``size``.

    :raises ModelError: the result is not valid ONNX, differs from the torch module (`check_parity`), or
        lacks weights by their names (the exporter merges equal ones, which an untrained network has).
    """
    shipped = _Exported(network.width)
    shipped.load_state_dict(network.state_dict())
    example = torch.zeros(2, 3, size, size)
    with _quiet():
        program = torch.onnx.export(
            shipped.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["depth", "mask"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            optimize=True,
            verbose=False,
        )
    model = program.model_proto
    _strip(model)
    _check_names(network, model)
    _store_half(model)
    helper.set_model_props(
        model, {"architecture": ARCHITECTURE, "width": str(network.width), "size": str(size)}
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"The exported network is not valid ONNX ({error}).") from error
    check_parity(network, model.SerializeToString(), size)
    return model


def check_parity(network: AttentionUNet, content: bytes, size: int) -> float:
    """Largest difference between the file (ONNX Runtime, float32) and torch with float16-rounded weights.

    Measured on noise and on flat pictures, two at a time.

    :raises ModelError: it is not below `PARITY`.
    """
    rounded = _Exported(network.width)
    rounded.load_state_dict({name: _rounded(value) for name, value in network.state_dict().items()})
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[1] = torch.linspace(-1, 1, size)
    with torch.inference_mode():
        expected = dict(zip(("depth", "mask"), rounded.eval()(images), strict=True))
    engine = load_engine(content, "onnxruntime", batch=2)
    found = engine.run({"image": images.numpy()})
    engine.close()
    worst = max(float(np.abs(found[name] - value.numpy()).max()) for name, value in expected.items())
    if not worst < PARITY:
        raise ModelError(f"The exported network differs from torch by {worst:.2g}; at most {PARITY} may be.")
    return worst


def quantized(content: bytes, images: Array) -> bytes:
    """The int8 variant (QDQ, static): activations calibrated on ``images``, weights per channel.

    The blocks at full resolution stay in float: rounding there goes straight into the slopes of the depth
    (measured: 16 degrees worse normals with them in int8, 0.1 without), and they hold 1 % of the weights.

    :param content: the float model.
    :param images: (N, 3, S, S) float32 in [-1, 1], pictures the network was trained on.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        model = _float_weights(content)
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[node.name for node in model.graph.node if _at_full_resolution(node)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(target)
    _strip(model)
    return bytes(model.SerializeToString())


def _at_full_resolution(node: Any) -> bool:
    return any(name.startswith(FULL_RESOLUTION) for name in node.input)


class _Calibration:
    """Hands pictures to the quantiser one by one."""

    def __init__(self, images: Array) -> None:
        self._rest = iter(images)

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._rest, None)
        return None if image is None else {"image": image[None]}


def _check_names(network: AttentionUNet, model: Any) -> None:
    stored = {tensor.name for tensor in model.graph.initializer}
    wanted = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    if wanted - stored:
        raise ModelError(
            f"The export lost the names of {len(wanted - stored)} weights; train the network first."
        )


def _rounded(value: Tensor) -> Tensor:
    return value.half().to(value.dtype) if value.numel() >= HALF_FROM else value


def _store_half(model: Any) -> None:
    """Store the large weights as float16, each with a Cast to float32 in front of its use."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [f"{name}.float32"], to=onnx.TensorProto.FLOAT))
        for node in model.graph.node:
            for place, used in enumerate(node.input):
                if used == name:
                    node.input[place] = f"{name}.float32"
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _float_weights(content: bytes) -> Any:
    """Undo `_store_half`: the quantiser wants plain float32 initializers."""
    model = onnx.load_model_from_string(content)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _strip(model: Any) -> None:
    """Remove the exporter's notes: they hold source lines and paths of the machine that exported."""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.functions[:]
    graph.doc_string = model.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress and warnings on absent libraries are not the user's concern."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
