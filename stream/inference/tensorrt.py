"""TensorRT: which of its two libraries is used, and building a plan from an ONNX model.

``tensorrt`` (from NVIDIA's own index) is preferred; it builds for the GPU it runs on, by timing kernels.
``tensorrt_rtx`` (on PyPI) knows consumer GPUs, builds for any of them without one, and compiles the kernels
on the GPU when it first runs. Both are given strongly typed networks: the precision is in the model
(`stream.inference.tensorrt_half`, `stream.inference.tensorrt_int8`).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from stream.compute.cuda.libraries import why_no_library
from stream.errors import BackendError, MissingExtraError, ModelError
from stream.inference.engine import TensorSpec
from stream.inference.tensorrt_progress import Phases, Progress
from stream.inference.tensors import pin_batch

LIBRARIES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
"""Module and distribution of each, best first."""

OLDEST = (10, 1)
"""The first release of ``tensorrt`` with strongly typed networks and sized device memory."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two, imported.

    :ivar name: ``tensorrt`` or ``tensorrt_rtx``.
    :ivar log: an ILogger, and the newest error it was told.
    """

    name: str
    module: Any
    log: Any

    @property
    def version(self) -> str:
        """Its version, e.g. ``1.7.1.116``."""
        return str(self.module.__version__)

    @property
    def portable(self) -> bool:
        """Whether it builds for GPUs that are not there."""
        return self.name == "tensorrt_rtx"

    def architectures(self) -> tuple[str, ...]:
        """What a portable library builds for, e.g. ``sm_86``; empty for one that builds for its own GPU."""
        if not self.portable:
            return ()
        names = self.module.ComputeCapability.__members__
        return tuple(f"sm_{name[2:]}" for name in names if name.startswith("SM"))


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is built.

    :ivar max_batch: the free first axis of every input takes 1..max_batch.
    :ivar arch: e.g. ``sm_86``: the GPU it is for; ``None`` for the one that is there.
    :ivar exact: float32 products in float32; else TensorFloat-32 (10 bits of mantissa) is allowed.
    :ivar timing_cache: what an earlier build left behind, for a library that times kernels.
    """

    max_batch: int = 1
    arch: str | None = None
    exact: bool = False
    timing_cache: bytes = b""


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, which is native code, and what building it has learnt.

    :ivar timing_cache: for the next build; empty where the library has none.
    """

    plan: bytes
    timing_cache: bytes = field(default=b"", repr=False)


def installed_library() -> str | None:
    """Module name of the library that would be used; found without importing it."""
    return next((name for name in LIBRARIES if importlib.util.find_spec(name) is not None), None)


def why_not() -> str | None:
    """Why TensorRT cannot be meant to run here, as one sentence; ``None`` where it may be. Loads nothing.

    The library is not installed, or there is no NVIDIA driver: nothing that anybody must be warned of.
    """
    if installed_library() is None:
        return str(MissingExtraError("TensorRT", "gpu"))
    reason = why_no_library()
    return None if reason is None else reason.replace("--compute numba", "--inference openvino")


@cache
def load_library(portable: bool = False) -> Library:
    """Import the library in use.

    :param portable: only one that builds for other GPUs will do.
    :raises MissingExtraError: none is installed.
    """
    for name in LIBRARIES:
        if portable and name != "tensorrt_rtx":
            continue
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: it is there, a library it needs is not
            logger.info("%s cannot be imported: %s", name, error)
            continue
        library = Library(name, module, _make_log(module))
        if library.portable or _release(library.version) >= OLDEST:
            return library
        logger.info("tensorrt %s is older than %d.%d and not used.", library.version, *OLDEST)
    raise MissingExtraError("tensorrt-rtx" if portable else "TensorRT", "gpu")


def build_plan(
    library: Library, model: bytes, options: BuildOptions, progress: Progress | None = None
) -> Built:
    """Build a plan from an ONNX model as it is.

    :raises ModelError: the model cannot be parsed (the node at fault is named), an axis other than the first
        is free, or it was exported for another batch size.
    :raises BackendError: the build failed, was stopped, or the library cannot build for that GPU.
    """
    trt = library.module
    library.log.newest = ""  # an older error is not this build's reason
    builder = trt.Builder(library.log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, library.log)
    _parse(parser, network, model)
    config = builder.create_builder_config()
    _configure(library, config, options)
    _add_profile(builder, config, network, options.max_batch)
    timing = None if library.portable else config.create_timing_cache(options.timing_cache)
    if timing is not None:
        config.set_timing_cache(timing, False)
    monitor = None
    if progress is not None:
        config.progress_monitor = monitor = _make_monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        stopped = monitor is not None and monitor.stopped
        reason = "it was stopped" if stopped else library.log.newest or "it gives no reason"
        raise BackendError(f"TensorRT could not build the network: {reason}.")
    return Built(bytes(plan), bytes(timing.serialize()) if timing is not None else b"")


def check_architecture(library: Library, arch: str) -> None:
    """Refuse a GPU that plans cannot be built for.

    :raises BackendError: the library does not know it; the message says what it knows.
    """
    if not library.portable:
        raise BackendError(
            f"tensorrt builds for the GPU it runs on only, not for {arch}; "
            "install tensorrt-rtx to build for others: pip install 'prosopon[gpu]'"
        )
    if arch not in library.architectures():
        raise BackendError(
            f"tensorrt-rtx {library.version} does not know the GPU architecture {arch} (it knows "
            f"{', '.join(library.architectures())}); on such a GPU use tensorrt from NVIDIA's index, "
            "or --inference onnxruntime."
        )


def dtype_name(library: Library, dtype: Any) -> str:
    """TensorRT's data type as numpy names it.

    :raises ModelError: numpy has none, as for bfloat16.
    """
    try:
        return str(library.module.nptype(dtype).__name__).rstrip("_")
    except TypeError as error:
        raise ModelError(
            f"The model has an input or output of {dtype}, which numpy does not know."
        ) from error


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _parse(parser: Any, network: Any, model: bytes) -> None:
    if parser.parse(model):
        # Bytes that are no ONNX at all parse well, into nothing.
        if network.num_inputs == 0 or network.num_outputs == 0:
            raise ModelError("The model is no ONNX file or is damaged; get it again.")
        return
    if parser.num_errors == 0:
        raise ModelError("TensorRT cannot read the model and gives no reason; use --inference onnxruntime.")
    error = parser.get_error(0)
    raise ModelError(
        f"TensorRT cannot take the model's node {error.node()} ({error.node_name() or 'unnamed'}, "
        f"{error.node_operator() or 'no operator'}): {_reason(error)}; use --inference onnxruntime."
    )


def _reason(error: Any) -> str:
    """The parser's reason as a clause; for an unknown operation it has only the code of an assertion."""
    text = " ".join(str(error.desc()).split()).rstrip(".")
    if getattr(error.code(), "name", "") == "UNSUPPORTED_NODE" and text in ("", "false"):
        return "it does not support this operation"
    if "Plugin not found" in text:
        return "it does not know this operation"
    return text


def _configure(library: Library, config: Any, options: BuildOptions) -> None:
    trt = library.module
    if options.exact:
        config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # Without it an RTX plan may allocate while it runs, which no CUDA graph can hold.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if options.arch is not None:
        check_architecture(library, options.arch)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, options.arch.replace("sm_", "SM")), 0)


def _add_profile(builder: Any, config: Any, network: Any, max_batch: int) -> None:
    """Let the free first axes be 1..max_batch; the others stay as they are."""
    shapes = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes[tensor.name] = tuple(None if axis < 0 else int(axis) for axis in tensor.shape)
    pin_batch([TensorSpec(name, shape, "") for name, shape in shapes.items()], max_batch)
    free = {name: shape[1:] for name, shape in shapes.items() if shape[:1] == (None,)}
    if not free:
        return
    profile = builder.create_optimization_profile()
    for name, rest in free.items():
        profile.set_shape(name, (1, *rest), (max_batch, *rest), (max_batch, *rest))
    config.add_optimization_profile(profile)


def _make_log(module: Any) -> Any:
    """TensorRT's log, passed on to Python's; its classes can be subclassed only once it is imported."""
    severities = module.ILogger

    class Log(module.ILogger):
        def __init__(self) -> None:
            severities.__init__(self)
            self.newest = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                self.newest = " ".join(message.split()).rstrip(".")
            if severity in (severities.INTERNAL_ERROR, severities.ERROR, severities.WARNING):
                logger.debug("TensorRT: %s", message)

    return Log()


def _make_monitor(module: Any, progress: Progress) -> Any:
    phases = Phases()

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.stopped = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            self.stopped = self.stopped or not progress(phase_name, phases.share())
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
