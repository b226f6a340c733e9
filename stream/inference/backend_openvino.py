"""OpenVINO: the fastest backend on Intel and AMD CPUs.

Threads sleep while no inference runs (measured: no CPU time between runs). Pinning to cores is switched
off: the tracker, the mesher and the renderer want the same cores.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.errors import BackendError, ModelError
from stream.inference.engine import TensorSpec
from stream.inference.openvino_cache import kept_networks
from stream.inference.tensors import check_inputs, closed, pin_batch
from stream.types import Array

# OpenVINO reports its use over the network unless its telemetry package is absent, which this makes it seem;
# a program that looks at faces tells nobody anything.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

try:
    import openvino
except ImportError as error:  # pragma: no cover - depends on the installation
    raise BackendError(
        f"openvino cannot be imported ({error}); install it with: pip install openvino"
    ) from error


log = logging.getLogger(__name__)


class OpenVinoEngine:
    """An `Engine` on OpenVINO's CPU plugin, tuned for latency; one request with bound input buffers.

    Without ``precision`` OpenVINO computes in bfloat16 where the CPU has it; ``f32`` forbids that.
    Measured on an Attention U-Net of width 12 trained for depth, 128x128, one thread: 3.8 ms instead of
    6.8, for an error of 0.002 crop units (0.008 at most) and 1.1 degrees in the surface normals.

    :raises ModelError: the bytes are no ONNX model that OpenVINO understands.
    """

    backend = "openvino"

    def __init__(self, model: bytes, threads: int | None, precision: str | None, batch: int) -> None:
        core = openvino.Core()
        try:
            network = core.read_model(model)
            self.inputs = pin_batch([_spec(port) for port in network.inputs], batch)
            network.reshape({spec.name: list(spec.shape) for spec in self.inputs})
            compiled = _compiled(core, network, _properties(threads, precision))
        except RuntimeError as error:
            raise ModelError(
                "OpenVINO cannot read the model; it is damaged or uses operations OpenVINO does not know."
            ) from error
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        self._buffers = {
            port.any_name: np.zeros(tuple(port.shape), port.element_type.to_dtype())
            for port in compiled.inputs
        }
        self._request: Any = compiled.create_infer_request()
        for name, buffer in self._buffers.items():
            self._request.set_tensor(name, openvino.Tensor(buffer, shared_memory=True))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `stream.inference.engine.Engine.run`."""
        if self._request is None:
            raise closed()
        check_inputs(self.inputs, inputs)
        for name, buffer in self._buffers.items():
            np.copyto(buffer, inputs[name])
        self._request.infer()
        return {
            spec.name: self._request.get_output_tensor(index).data.copy()
            for index, spec in enumerate(self.outputs)
        }

    def close(self) -> None:
        """See `stream.inference.engine.Engine.close`."""
        self._request = None


def _compiled(core: Any, network: Any, properties: dict[str, object]) -> Any:
    """The network, compiled now or at an earlier start."""
    if (folder := kept_networks()) is not None:
        try:
            return core.compile_model(network, "CPU", properties | {"CACHE_DIR": str(folder)})
        except RuntimeError as error:  # such as a full disk; a network's own fault comes again
            log.info("The network is compiled without its cache: %s", error)
    return core.compile_model(network, "CPU", properties)


def _properties(threads: int | None, precision: str | None) -> dict[str, object]:
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    if precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = precision
    return properties


def _spec(port: Any) -> TensorSpec:
    shape = tuple(None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape)
    return TensorSpec(port.any_name, shape, port.element_type.to_dtype().name)
