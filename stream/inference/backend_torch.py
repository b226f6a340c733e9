"""PyTorch: runs the project's own networks from the weights inside their ONNX files.

Not a general ONNX interpreter: the file's metadata names the architecture, and its initializers, named
as in the torch module, fill it. It serves training machines and parity tests; live capture prefers the
other backends.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.compute.cuda.arrays import DeviceArray, as_device
from stream.compute.cuda.driver import Stream
from stream.errors import BackendError, MissingExtraError, ModelError
from stream.inference.engine import TensorSpec
from stream.inference.tensors import check_inputs, closed, pin_batch
from stream.networks.network import ARCHITECTURES, OUTPUTS, network_of, outputs_of
from stream.types import Array

try:
    import torch
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error
try:
    import onnx
    from onnx import numpy_helper
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("onnx", "train") from error

WARM_UP = 3
"""Runs before the network is captured: its library chooses among algorithms in the first ones."""


class TorchEngine:
    """An `Engine` on PyTorch in float32, for files whose metadata names an architecture known here.

    `run` computes on the CPU, `run_device` on the GPU.

    ``threads`` sets PyTorch's process-wide number of threads.

    :raises ModelError: the bytes are no ONNX model, its options are not possible, or its weights and
        outputs do not fit the architecture.
    :raises BackendError: the file names no architecture that is known here, or lacks the torch names.
    """

    backend = "torch"
    capturable = False
    """It replays a graph of its own, which another graph cannot hold."""

    def __init__(self, model: bytes, threads: int | None, precision: str | None, batch: int) -> None:
        proto = _parse(model)
        network = _filled(proto)
        self.inputs = pin_batch([_spec(value) for value in proto.graph.input], batch)
        self.outputs = tuple(_with_batch(_spec(value), batch) for value in proto.graph.output)
        _check_outputs(self.outputs)
        if threads is not None:
            torch.set_num_threads(threads)
        self._network: Any = network.eval().to(memory_format=torch.channels_last)
        self._replay: _Replay | None = None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `stream.inference.engine.Engine.run`."""
        if self._network is None:
            raise closed()
        check_inputs(self.inputs, inputs)
        image = torch.from_numpy(np.ascontiguousarray(inputs[self.inputs[0].name]))
        with torch.inference_mode():
            results = outputs_of(self._network(image.contiguous(memory_format=torch.channels_last)))
        return {spec.name: np.ascontiguousarray(results[spec.name].numpy()) for spec in self.outputs}

    def run_device(self, inputs: Mapping[str, Any], stream: Stream) -> dict[str, DeviceArray]:
        """Run on the GPU, on what lies there already; waits for nothing.

        :param inputs: the image as a device array, (N, 3, S, S) float32.
        :param stream: what the work is queued on.
        :returns: arrays of their own.
        :raises BackendError: this PyTorch has no CUDA.
        """
        if self._network is None:
            raise closed()
        if not torch.cuda.is_available():
            raise BackendError("This PyTorch has no CUDA; install its CUDA build, or use --compute numba.")
        queue = torch.cuda.ExternalStream(stream.handle)
        with torch.inference_mode(), torch.cuda.stream(queue):
            image = torch.as_tensor(inputs[self.inputs[0].name], device="cuda")
            if self._replay is None:
                self._replay = _Replay(self._network, image, queue)
            results = self._replay(image)
            return {spec.name: as_device(results[spec.name].contiguous()) for spec in self.outputs}

    def close(self) -> None:
        """See `stream.inference.engine.Engine.close`."""
        self._network = self._replay = None


class _Replay:
    """The network on the GPU as a CUDA graph: launched singly, its kernels take longer to queue than to run.

    :param image: (N, 3, S, S) float32 on the GPU; all later ones have its shape.
    """

    def __init__(self, network: Any, image: Any, queue: Any) -> None:
        on_gpu = copy.deepcopy(network).cuda()
        self._image = image.clone(memory_format=torch.channels_last)
        for _ in range(WARM_UP):
            on_gpu(self._image)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads go on using the GPU meanwhile (a renderer).
        with torch.cuda.graph(self._graph, stream=queue, capture_error_mode="thread_local"):
            self._results = outputs_of(on_gpu(self._image))

    def __call__(self, image: Any) -> dict[str, Any]:
        """The outputs, which the next call does not write to."""
        self._image.copy_(image)
        self._graph.replay()
        return {name: value.clone() for name, value in self._results.items()}


def network_in(model: bytes) -> Any:
    """The `stream.networks.network.DepthNetwork` whose weights an ONNX file of ours holds.

    :raises ModelError: it is damaged, or describes no network that can be built.
    :raises BackendError: its architecture is unknown here, or it lacks the torch names.
    """
    return _filled(_parse(model)).eval()


def _filled(proto: Any) -> Any:
    network = _build(proto)
    _fill(network, proto)
    return network


def _parse(model: bytes) -> Any:
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's DecodeError, whichever protobuf implementation is installed
        raise ModelError("The model is no ONNX file or is damaged; get it again.") from error
    if not proto.graph.input or not proto.graph.output:
        raise ModelError("The model is no ONNX file or is damaged; get it again.")
    return proto


def _build(proto: Any) -> Any:
    """The torch module, not yet filled."""
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    architecture = metadata.get("architecture")
    if architecture not in ARCHITECTURES:
        raise BackendError(
            f"The torch backend cannot run the architecture {architecture!r}; use openvino or onnxruntime."
        )
    return network_of(metadata)


def _check_outputs(specs: tuple[TensorSpec, ...]) -> None:
    unknown = [spec.name for spec in specs if spec.name not in OUTPUTS]
    if unknown:
        raise ModelError(f"The model gives {unknown[0]!r}, which no depth network does; get it again.")


def _fill(network: Any, proto: Any) -> None:
    """Load the initializers (float32, or float16 to save space) that carry the module's names."""
    wanted = network.state_dict()
    weights = {}
    for tensor in proto.graph.initializer:
        if tensor.name in wanted and tensor.data_location != onnx.TensorProto.EXTERNAL:
            weights[tensor.name] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    missing = {name for name in wanted if not name.endswith("num_batches_tracked")} - weights.keys()
    if missing:
        raise BackendError(
            f"The model lacks {len(missing)} weights by their torch names ({min(missing)}, ...), as "
            "quantised models do; use openvino or onnxruntime."
        )
    try:
        network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError("The model's weights do not fit the architecture its metadata names.") from error


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
    return TensorSpec(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


def _with_batch(spec: TensorSpec, batch: int) -> TensorSpec:
    return TensorSpec(spec.name, (batch, *spec.shape[1:]), spec.dtype)
