"""TensorRT on the GPU: a network whose buffers are bound once and whose run is one CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.compute.cuda import arrays
from stream.compute.cuda.arrays import DeviceArray, as_device
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.cuda.graphs import captured
from stream.errors import BackendError, InputError
from stream.inference.engine import TensorSpec
from stream.inference.tensorrt import why_not
from stream.inference.tensorrt_network import Network
from stream.inference.tensorrt_plans import Precision, plan_for
from stream.inference.tensors import check_inputs, closed, pin_batch
from stream.types import Array

WARM_UPS = 2
"""Runs before the graph is captured: the library compiles and allocates in the first ones."""

logger = logging.getLogger(__name__)


class TensorRtEngine:
    """An `Engine` on TensorRT or TensorRT-RTX, on the GPU of `stream.compute.cuda.current`.

    The plan is taken from the cache, or built with a bar and kept. Without ``precision`` it computes in
    float16, unless that loses more than `stream.inference.tensorrt_accuracy.BOUNDS`, or in int8 where the
    model is quantised; with ``f32`` in exact float32, as far as a quantised model leaves anything to that.
    ``threads`` changes nothing.

    `run` takes host arrays; `run_device` what lies on the GPU already. Both share the GPU's memory between
    layers, so neither may be under way on one stream while the other is called on another.

    :ivar precision: ``fp16``, ``fp32`` or ``int8``.
    :ivar capturable: whether a run may be part of a CUDA graph.
    :ivar loss: what is lost per output (`stream.inference.tensorrt_accuracy.accuracy_loss`); empty for fp32.
    :raises BackendError: there is no library, driver or GPU, or the build or the load failed.
    :raises ModelError: TensorRT cannot take the model; the node at fault is named.
    """

    backend = "tensorrt"

    def __init__(self, model: bytes, threads: int | None, precision: str | None, batch: int) -> None:
        if (reason := why_not()) is not None:
            raise BackendError(reason)
        driver = current_driver()
        choice = plan_for(driver, model, precision == "f32", batch, TensorRtEngine.of_network)
        self._set_up(driver, choice.network, batch)
        self.precision, self.loss = choice.precision, choice.loss

    @classmethod
    def of_network(cls, driver: Driver, network: Network, precision: Precision, batch: int) -> TensorRtEngine:
        """An engine for a network that is loaded already, whose loss nobody has measured yet."""
        engine = cls.__new__(cls)
        engine._set_up(driver, network, batch)
        engine.precision, engine.loss = precision, {}
        return engine

    def _set_up(self, driver: Driver, network: Network, batch: int) -> None:
        self.inputs = pin_batch(network.inputs, batch)
        self.outputs = tuple(_pinned_axis(spec, batch) for spec in network.outputs)
        self._driver, self._network, self._batch = driver, network, batch
        self._stream = driver.stream()
        self._host = {spec.name: driver.pinned(_shape(spec), spec.dtype) for spec in self._specs()}
        self._device = {spec.name: arrays.empty(driver, _shape(spec), spec.dtype) for spec in self._specs()}
        self._context: Any = network.context(self.inputs)
        network.bind(self._context, self._device)
        self.capturable = network.capturable(self._context, self._stream)
        self._device_contexts: dict[int, Any] = {}
        self._graph: Any = None
        self._runs = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `stream.inference.engine.Engine.run`."""
        if self._context is None:
            raise closed()
        check_inputs(self.inputs, inputs)
        for name, value in inputs.items():
            np.copyto(self._host[name], value)
        if self._graph is not None:
            self._driver.replay(self._graph, self._stream)
        else:
            self._queue()
        self._driver.synchronize(self._stream)
        self._runs += 1
        if self._runs == WARM_UPS:
            self._network.keep_runtime_cache()
            self._graph = self._captured()
        return {spec.name: self._host[spec.name].copy() for spec in self.outputs}

    def run_device(self, inputs: Mapping[str, Any], stream: Stream) -> dict[str, DeviceArray]:
        """Queue a run on what lies on the GPU, without waiting: for frames that stay there.

        A batch size's first call allocates and compiles; later ones only queue, so they may be captured into
        a graph (the arrays' addresses become part of it).

        :param inputs: C-contiguous device arrays; where the model's first axis is free it may be 1..batch.
        :param stream: not the default one, on which TensorRT would wait.
        :returns: the engine's own arrays; the next run writes to them again.
        :raises InputError: a name, shape or dtype is not what `inputs` says, or the batch is too large.
        """
        if self._context is None:
            raise closed()
        views = {name: as_device(value) for name, value in inputs.items()}
        count = self._check_device(views)
        context = self._device_contexts.get(count)
        specs = [_with_batch(spec, count) for spec in self.inputs]
        if context is None:
            context = self._device_contexts[count] = self._network.context(specs)
        outputs = {
            spec.name: self._device[spec.name][:count]
            if spec.shape[:1] == (None,)
            else self._device[spec.name]
            for spec in self._network.outputs
        }
        self._network.bind(context, {**views, **outputs})
        self._network.queue(context, stream)
        return outputs

    def close(self) -> None:
        """See `stream.inference.engine.Engine.close`."""
        if self._context is not None:
            self._driver.synchronize(self._stream)
            self._network.keep_runtime_cache()
        self._graph = self._context = None
        self._device_contexts.clear()

    def _specs(self) -> tuple[TensorSpec, ...]:
        return (*self.inputs, *self.outputs)

    def _queue(self) -> None:
        """Upload, run and download, on the engine's own stream."""
        for spec in self.inputs:
            self._driver.upload(self._device[spec.name].pointer, self._host[spec.name], self._stream)
        self._network.queue(self._context, self._stream)
        for spec in self.outputs:
            self._driver.download(self._host[spec.name], self._device[spec.name].pointer, self._stream)

    def _captured(self) -> Any:
        """The run as a graph, or ``None`` where this network or driver cannot be captured."""
        if not self.capturable:
            logger.info("TensorRT cannot capture this network into a graph; its kernels are launched singly.")
            return None
        try:
            return captured(self._driver, self._stream, self._queue)
        except BackendError as error:
            logger.warning("No CUDA graph could be captured, so kernels are launched singly: %s", error)
            return None

    def _check_device(self, views: Mapping[str, DeviceArray]) -> int:
        """The batch size of ``views``."""
        names = [spec.name for spec in self.inputs]
        if sorted(views) != sorted(names):
            raise InputError(f"The network takes the inputs {names}, not {sorted(views)}.")
        count = views[names[0]].shape[0] if views[names[0]].ndim else 0
        if not (1 <= count <= self._batch and (count == self._batch or self._network.is_free)):
            raise InputError(f"This network was loaded for batches of {self._batch}, not {count}.")
        for spec in self.inputs:
            view, wanted = views[spec.name], _shape(_with_batch(spec, count))
            if view.shape != wanted or view.dtype.name != spec.dtype:
                raise InputError(
                    f"The input {spec.name!r} must be {spec.dtype} {wanted}, "
                    f"not {view.dtype.name} {view.shape}."
                )
        return count


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(axis or 0 for axis in spec.shape)


def _with_batch(spec: TensorSpec, batch: int) -> TensorSpec:
    return TensorSpec(spec.name, (batch, *spec.shape[1:]), spec.dtype)


def _pinned_axis(spec: TensorSpec, batch: int) -> TensorSpec:
    """An output with its free first axis fixed.

    :raises BackendError: another axis is free, so that its size is not known before a run.
    """
    if None in spec.shape[1:]:
        raise BackendError(
            f"The network's output {spec.name!r} {spec.shape} has no fixed size; use --inference onnxruntime."
        )
    return _with_batch(spec, batch) if spec.shape[:1] == (None,) else spec
