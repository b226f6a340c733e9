"""TensorRT without a GPU: its classes as far as they are used, and a driver that captures graphs.

A plan is the ONNX model itself; a context runs it in ONNX Runtime on the addresses it was given, which are
host addresses with `CapturingDriver`. Everything is done at once, unless a graph is being captured.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from typing import Any

import numpy as np
from compute.host_driver import HostDriver, HostStream

from stream.errors import BackendError
from stream.inference.backend_onnxruntime import OnnxRuntimeEngine, describe
from stream.inference.tensorrt import Library, _make_log

_Enum: Any = enum.Enum
_IntEnum: Any = enum.IntEnum
"""The library's own kinds of values; made anew for each, which type checkers cannot follow."""


class CapturingDriver(HostDriver):
    """The host driver with a count of what was called.

    :param refuses: ``begin`` or ``end``: what fails when a graph is captured.
    """

    def __init__(self, refuses: str = "") -> None:
        super().__init__()
        self.calls: list[str] = []
        self.refuses = refuses

    def do(self, name: str, work: Callable[[], Any]) -> None:
        """Queue work of the fake library."""
        self.calls.append(name)
        self._queue(work)

    def upload(self, pointer: int, host: np.ndarray, stream: Any) -> None:
        self.calls.append("upload")
        super().upload(pointer, host, stream)

    def download(self, host: np.ndarray, pointer: int, stream: Any) -> None:
        self.calls.append("download")
        super().download(host, pointer, stream)

    def allocate(self, nbytes: int) -> Any:
        self.calls.append("allocate")
        return super().allocate(nbytes)

    def synchronize(self, stream: Any) -> None:
        self.calls.append("synchronize")
        super().synchronize(stream)

    def stream(self) -> HostStream:
        return HostStream(17)

    def begin_capture(self, stream: Any) -> None:
        self.calls.append("begin_capture")
        if self.refuses == "begin":
            raise BackendError("cuStreamBeginCapture failed with CUDA_ERROR_FAKE; try again.")
        super().begin_capture(stream)

    def end_capture(self, stream: Any) -> Any:
        self.calls.append("end_capture")
        graph = super().end_capture(stream)
        if self.refuses == "end":
            raise BackendError("cuStreamEndCapture failed with CUDA_ERROR_FAKE; try again.")
        return graph

    def replay(self, graph: Any, stream: Any) -> None:
        self.calls.append("replay")
        super().replay(graph, stream)


class Mode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class FakeTensorRt:
    """The module.

    :ivar events: what was asked of it.
    :ivar spoils: whether a plan's outputs are wrong by 0.5.
    :ivar capturable, runs, loads: whether that works.
    """

    def __init__(self, driver: CapturingDriver, rtx: bool = False) -> None:
        self.__version__ = "99.1.2"
        self.driver, self.rtx = driver, rtx
        self.events: list[tuple[Any, ...]] = []
        self.spoils: Callable[[bytes], bool] = lambda plan: False
        self.capturable, self.runs, self.loads = True, True, True
        flags = {"TF32": 1, "REQUIRE_USER_ALLOCATION": 2} if rtx else {"TF32": 1}
        self.BuilderFlag = _Enum("BuilderFlag", flags)
        self.ComputeCapability = _Enum("ComputeCapability", {"NONE": 0, "SM86": 86, "SM120": 120})
        self.NetworkDefinitionCreationFlag = _IntEnum("Flag", {"STRONGLY_TYPED": 1})
        self.ExecutionContextAllocationStrategy = _Enum("Strategy", "STATIC USER_MANAGED")
        self.DynamicShapesKernelSpecializationStrategy = _Enum("Specialisation", "LAZY EAGER")
        self.CudaGraphStrategy = _Enum("GraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")
        self.TensorIOMode = Mode
        self.Builder = lambda log: _Builder(self, log)
        self.OnnxParser = lambda network, log: _Parser(network)
        self.Runtime = lambda log: _Runtime(self, log)

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    class IProgressMonitor:
        pass

    def library(self) -> Library:
        return Library("tensorrt_rtx" if self.rtx else "tensorrt", self, _make_log(self))

    def nptype(self, dtype: str) -> Any:
        return np.dtype(dtype).type


class _Tensor:
    def __init__(self, spec: Any) -> None:
        self.name, self.dtype = spec.name, spec.dtype
        self.shape = tuple(-1 if axis is None else axis for axis in spec.shape)


class _Network:
    def read(self, model: bytes) -> None:
        self.model = model
        inputs, outputs = describe(model)
        self.inputs, self.num_inputs, self.num_outputs = inputs, len(inputs), len(outputs)

    def get_input(self, index: int) -> _Tensor:
        return _Tensor(self.inputs[index])


class _Parser:
    def __init__(self, network: _Network) -> None:
        self.network = network

    def parse(self, model: bytes) -> bool:
        self.network.read(model)
        return True


class _Profile:
    def __init__(self, module: FakeTensorRt) -> None:
        self.module = module

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.module.events.append(("profile", name, *shapes))


class _Blob:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class _Config:
    def __init__(self, module: FakeTensorRt) -> None:
        self.module = module
        self.flags = {"TF32"}
        self.progress_monitor: Any = None

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile: Any) -> None: ...

    def set_compute_capability(self, capability: Any, index: int) -> None:
        self.module.events.append(("capability", capability.name))

    def create_timing_cache(self, content: bytes) -> _Blob:
        self.module.events.append(("timing", content))
        return _Blob(content + b"timed;")

    def set_timing_cache(self, cache: _Blob, ignore_mismatch: bool) -> bool:
        return True


class _Builder:
    def __init__(self, module: FakeTensorRt, log: Any) -> None:
        self.module, self.log = module, log

    def create_network(self, flags: int) -> _Network:
        assert flags == 2, "networks must be strongly typed"
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config(self.module)

    def create_optimization_profile(self) -> _Profile:
        return _Profile(self.module)

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        self.module.events.append(("build", frozenset(config.flags)))
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Building engine", None, 4)
            for step in range(4):
                if not config.progress_monitor.step_complete("Building engine", step):
                    return None
            config.progress_monitor.phase_finish("Building engine")
        return network.model


class _Runtime:
    def __init__(self, module: FakeTensorRt, log: Any) -> None:
        self.module, self.log = module, log

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        if not self.module.loads:
            self.log.log(self.module.ILogger.ERROR, "wrong version tag.")
            return None
        return _Engine(self.module, self.log, plan)


class _RuntimeConfig:
    def __init__(self, module: FakeTensorRt) -> None:
        self.module = module

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> _RuntimeCache:
        return _RuntimeCache(self.module)

    def set_runtime_cache(self, cache: _RuntimeCache) -> None:
        self.cache = cache

    def get_runtime_cache(self) -> _RuntimeCache:
        return self.cache


class _RuntimeCache:
    def __init__(self, module: FakeTensorRt) -> None:
        self.module = module

    def deserialize(self, content: bytes) -> bool:
        self.module.events.append(("runtime cache", content))
        return True

    def serialize(self) -> bytes:
        return b"compiled kernels"


class _Engine:
    device_memory_size_v2 = 1000

    def __init__(self, module: FakeTensorRt, log: Any, plan: bytes) -> None:
        self.module, self.log, self.plan = module, log, plan
        inputs, outputs = describe(plan)
        self.tensors = {spec.name: (spec, Mode.INPUT) for spec in inputs}
        self.tensors |= {spec.name: (spec, Mode.OUTPUT) for spec in outputs}
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return _Tensor(self.tensors[name][0]).shape

    def get_tensor_dtype(self, name: str) -> str:
        return self.tensors[name][0].dtype

    def get_tensor_mode(self, name: str) -> Mode:
        return self.tensors[name][1]

    def create_runtime_config(self) -> _RuntimeConfig:
        return _RuntimeConfig(self.module)

    def create_execution_context(self, how: Any) -> Any:
        strategy = how.strategy if self.module.rtx else how
        assert strategy.name == "USER_MANAGED"
        if self.module.rtx:
            assert how.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
        self.module.events.append(("context",))
        return (_RtxContext if self.module.rtx else _Context)(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine, self.module = engine, engine.module
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.memory = 0

    def set_device_memory(self, pointer: int, size: int) -> None:
        assert size >= self.engine.device_memory_size_v2
        self.memory = pointer

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def get_tensor_address(self, name: str) -> int:
        return self.addresses.get(name, 0)

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self.module.events.append(("bind", name))
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, handle: int) -> bool:
        assert self.memory, "no memory was given for what lies between layers"
        if not self.module.runs:
            self.engine.log.log(self.module.ILogger.ERROR, "illegal address\nsomewhere.")
            return False
        addresses, shapes = dict(self.addresses), dict(self.shapes)
        self.module.driver.do(f"execute on {handle}", lambda: self.execute(addresses, shapes))
        return True

    def execute(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> None:
        batch = next(iter(shapes.values()))[0]
        engine = OnnxRuntimeEngine(self.engine.plan, 1, None, batch)
        inputs = {spec.name: _view(addresses[spec.name], spec.shape, spec.dtype) for spec in engine.inputs}
        for name, value in engine.run(inputs).items():
            spoilt = value + 0.5 if self.module.spoils(self.engine.plan) else value
            _view(addresses[name], value.shape, value.dtype.name)[...] = spoilt


class _RtxContext(_Context):
    def is_stream_capturable(self, handle: int) -> bool:
        return self.module.capturable


def _view(pointer: int, shape: Any, dtype: str) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(memoryview((ctypes.c_byte * size).from_address(pointer)), dtype).reshape(shape)
