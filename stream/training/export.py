"""From a trained network to the ONNX files that are shipped.

Large weights are stored as float16 and cast to float32 where they are used (`export_onnx`), which is all
that "fp16" means here: no CPU that the project runs on computes convolutions in float16. OpenVINO turns
float16 arithmetic into float32 (or bfloat16, where the CPU has it, for float32 files too), and ONNX Runtime
has no float16 convolution for CPUs and would wrap each in casts. So a file in float16 arithmetic would be
as large, not faster, and less exact; where a GPU is at hand, its backend picks half precision itself, and
how exact that is, every release measures (`stream.training.release.half_predictor`).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stream.errors import InputError, MissingExtraError, ModelError
from stream.inference.backends import load_engine
from stream.networks.network import OUTPUTS, DepthNetwork, outputs_of

try:
    import onnx
    import onnxscript.optimizer
    from onnx import helper, numpy_helper
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("onnx", "train") from error

OPSET = 18
HALF_FROM = 1024
"""Weights of at least so many values are stored as float16; biases and batch statistics stay exact."""

PARITY = 1e-3
"""Largest difference allowed between the file and the torch module with the same weights."""


class _Shipped(nn.Module):
    """The network as it is shipped: see `stream.networks.network.outputs_of`."""

    def __init__(self, network: DepthNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs_of(self.network(image)).values())


def export_onnx(network: DepthNetwork, size: int) -> Any:
    """The network as an ONNX model (a ``ModelProto``) with float16 weights and float32 arithmetic.

    Input ``image`` (N, 3, size, size) float32 in [-1, 1]; outputs as in
    `stream.networks.network.outputs_of`. The initializers carry the names of the torch ``state_dict``; the
    metadata holds ``architecture``, each of its options, and ``size``.

    :raises InputError: the network does not take pictures of this size.
    :raises ModelError: the result is not valid ONNX, differs from the torch module (`check_parity`), or
        lacks weights by their names.
    """
    if size < 1 or size % network.stride:
        raise InputError(f"{network.architecture} takes sizes divisible by {network.stride}, not {size}.")
    model = _traced(network, size)
    strip(model)
    _check_names(network, model)
    _store_half(model)
    options = {name: str(value) for name, value in network.options().items()}
    helper.set_model_props(model, {"architecture": network.architecture, **options, "size": str(size)})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"The exported network is not valid ONNX ({error}).") from error
    check_parity(network, model.SerializeToString(), size)
    return model


def check_parity(network: DepthNetwork, content: bytes, size: int) -> float:
    """Largest difference between the file (ONNX Runtime, float32) and torch with float16-rounded weights.

    Measured over all outputs on noise and on flat pictures, two at a time.

    :raises ModelError: it is not below `PARITY`.
    """
    rounded = copy.deepcopy(network).eval()
    rounded.load_state_dict({name: _rounded(value) for name, value in network.state_dict().items()})
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[1] = torch.linspace(-1, 1, size)
    with torch.inference_mode():
        expected = outputs_of(rounded(images))
    engine = load_engine(content, "onnxruntime", precision="f32", batch=2)
    found = engine.run({"image": images.numpy()})
    engine.close()
    worst = max(float(np.abs(found[name] - value.numpy()).max()) for name, value in expected.items())
    if not worst < PARITY:
        raise ModelError(f"The exported network differs from torch by {worst:.2g}; at most {PARITY} may be.")
    return worst


def _traced(network: DepthNetwork, size: int) -> Any:
    """The network as a ``ModelProto`` whose initializers carry the names of the torch ``state_dict``.

    The exporter's own optimisation would merge and rename weights (batch normalisation into convolutions,
    transposed matrices, equal tensors); backends do that on loading, so here constants are folded only.
    """
    model = traced(_Shipped(copy.deepcopy(network)).eval(), size, OUTPUTS, _may_fold)
    names = {tensor.name: tensor.name.removeprefix("network.") for tensor in model.graph.initializer}
    _rename(model, names)
    return model


def traced(
    module: nn.Module, size: int, outputs: Sequence[str], may_fold: Callable[[Any], bool | None]
) -> Any:
    """A module of pictures as a ``ModelProto``, for any batch size: ``image`` (N, 3, size, size) float32.

    :param outputs: names of what the module gives.
    :param may_fold: whether the exporter may replace a node by its value; None leaves it to the exporter.
    """
    with quiet():
        program = torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("N")},),
            optimize=False,
            verbose=False,
        )
        onnxscript.optimizer.inline(program.model)
        onnxscript.optimizer.fold_constants(program.model, should_fold=may_fold)
        onnxscript.optimizer.remove_unused_nodes(program.model)
        return program.model_proto


def _may_fold(node: Any) -> bool | None:
    """Whether the exporter may replace a node by its value: not where that would consume a weight."""
    return False if any(value is not None and value.is_initializer() for value in node.inputs) else None


def _check_names(network: DepthNetwork, model: Any) -> None:
    stored = {tensor.name for tensor in model.graph.initializer}
    wanted = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    if wanted - stored:
        raise ModelError(
            f"The export lost the names of {len(wanted - stored)} weights ({min(wanted - stored)}, ...)."
        )


def _rounded(value: Tensor) -> Tensor:
    return value.half().to(value.dtype) if value.numel() >= HALF_FROM else value


def _store_half(model: Any) -> None:
    """Store the large weights as float16, each with a Cast to float32 in front of its use."""
    casts, names = [], {}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [f"{name}.float32"], to=onnx.TensorProto.FLOAT))
        names[name] = f"{name}.float32"
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _rename(model: Any, names: dict[str, str]) -> None:
    """Give initializers, and the inputs of nodes, other names."""
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def strip(model: Any) -> None:
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
def quiet() -> Iterator[None]:
    """The exporter's progress and warnings on absent libraries are not the user's concern."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
