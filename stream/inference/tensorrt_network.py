"""A TensorRT plan loaded on the GPU: execution contexts, their memory, and queueing a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.driver import Driver, Stream
from stream.errors import BackendError
from stream.inference import tensorrt_cache
from stream.inference.engine import TensorSpec
from stream.inference.tensorrt import Library, dtype_name
from stream.inference.tensorrt_cache import PlanKey

logger = logging.getLogger(__name__)


class Network:
    """A deserialised plan.

    A context belongs to one batch size for good, for a captured graph holds its state; all contexts share one
    piece of memory for what lies between layers, so only one of them may be at work at a time.

    :param plan: from the cache of this user or built just now; it is native code.
    :param key: where kernels that the library compiles on this GPU are kept; ``None`` keeps none.
    :ivar inputs: with a free first axis as ``None``.
    :raises BackendError: the plan is not for this GPU or library, or the GPU's memory is full.
    """

    def __init__(self, library: Library, driver: Driver, plan: bytes, key: PlanKey | None = None) -> None:
        self._library, self._driver, self._key = library, driver, key
        trt = library.module
        library.log.newest = ""  # an older error is not this network's reason
        self._kept = b""
        with driver.current():
            self._runtime = trt.Runtime(library.log)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise self._failure("load the plan")
            self._memory = driver.allocate(max(1, int(self._engine.device_memory_size_v2)))
            self._config = self._runtime_config()
        self.inputs = self._specs(trt.TensorIOMode.INPUT)
        self.outputs = self._specs(trt.TensorIOMode.OUTPUT)

    @property
    def is_free(self) -> bool:
        """Whether the first axis may have any size up to the largest it was built for."""
        return all(spec.shape[:1] == (None,) for spec in self.inputs)

    def context(self, inputs: Sequence[TensorSpec]) -> Any:
        """A new execution context for inputs of these shapes.

        :raises BackendError: the library refuses; the message gives its reason.
        """
        with self._driver.current():
            if self._config is not None:
                context = self._engine.create_execution_context(self._config)
            else:
                strategy = self._library.module.ExecutionContextAllocationStrategy.USER_MANAGED
                context = self._engine.create_execution_context(strategy)
            if context is None:
                raise self._failure("make an execution context")
            context.set_device_memory(self._memory.pointer, self._memory.nbytes)
            for spec in inputs:
                if not context.set_input_shape(spec.name, spec.shape):
                    raise self._failure(f"take {spec.name!r} of {spec.shape}")
        return context

    def bind(self, context: Any, tensors: Mapping[str, DeviceArray]) -> None:
        """Say where inputs and outputs lie from the next run on.

        :raises BackendError: the library refuses an address.
        """
        for name, tensor in tensors.items():
            bound = context.get_tensor_address(name) == tensor.pointer
            if not bound and not context.set_tensor_address(name, tensor.pointer):
                raise self._failure(f"use the memory given for {name!r}")

    def queue(self, context: Any, stream: Stream) -> None:
        """Queue a run.

        :raises BackendError: the library refuses.
        """
        with self._driver.current():
            queued = context.execute_async_v3(stream.handle)
        if not queued:
            raise self._failure("run the network")

    def capturable(self, context: Any, stream: Stream) -> bool:
        """Whether a run may be captured into a graph; a library that cannot tell is tried."""
        ask = getattr(context, "is_stream_capturable", None)
        with self._driver.current():
            return True if ask is None else bool(ask(stream.handle))

    def keep_runtime_cache(self) -> None:
        """Keep the kernels that the library has compiled for this GPU by now, for the next start."""
        if self._config is None or self._key is None:
            return
        with self._driver.current():
            content = bytes(self._config.get_runtime_cache().serialize())
        if content and content != self._kept:
            self._kept = content
            try:
                tensorrt_cache.store(self._key, "runtime", content)
            except BackendError as error:  # a run that went well is not to fail by it
                logger.warning("Compiled kernels are not kept: %s", error)

    def _runtime_config(self) -> Any:
        """TensorRT-RTX's settings of a run; ``None`` for TensorRT, whose plans hold their kernels."""
        trt = self._library.module
        if not self._library.portable:
            return None
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        # Else a graph captured soon would hold the general kernels that fill in until the special ones are
        # compiled, for good.
        config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # the engine captures its copies too
        cache = config.create_runtime_cache()
        kept = tensorrt_cache.load(self._key, "runtime") if self._key is not None else None
        if kept is not None and cache.deserialize(kept.payload):
            self._kept = kept.payload
        config.set_runtime_cache(cache)
        return config

    def _specs(self, mode: Any) -> tuple[TensorSpec, ...]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        return tuple(
            TensorSpec(
                name,
                tuple(None if axis < 0 else int(axis) for axis in self._engine.get_tensor_shape(name)),
                dtype_name(self._library, self._engine.get_tensor_dtype(name)),
            )
            for name in names
            if self._engine.get_tensor_mode(name) == mode
        )

    def _failure(self, what: str) -> BackendError:
        reason = self._library.log.newest or "it gives no reason"
        return BackendError(f"TensorRT cannot {what}: {reason}.")
