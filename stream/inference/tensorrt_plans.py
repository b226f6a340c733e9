"""From an ONNX model to a TensorRT plan: in which precision, kept or built, and accurate enough or not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from stream.compute.cuda.driver import Driver
from stream.errors import BackendError, ModelError
from stream.inference import tensorrt_cache
from stream.inference.tensorrt import (
    BuildOptions,
    Built,
    Library,
    build_plan,
    check_architecture,
    load_library,
)
from stream.inference.tensorrt_accuracy import Runnable, accuracy_loss, probe_inputs, too_lossy
from stream.inference.tensorrt_cache import PlanKey
from stream.inference.tensorrt_half import to_half
from stream.inference.tensorrt_int8 import is_quantised, to_symmetric
from stream.inference.tensorrt_network import Network
from stream.inference.tensorrt_progress import Progress, run_with_bar

Precision = Literal["fp16", "fp32", "int8"]

CONVERSION = 1
"""Counted up whenever `to_half` or `to_symmetric` change what they make: engines kept before are old then."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A network ready to run on this machine's GPU.

    :ivar loss: per output (`stream.inference.tensorrt_accuracy.accuracy_loss`); empty where none is due.
    :ivar from_cache: whether nothing had to be built.
    """

    network: Network
    precision: Precision
    loss: dict[str, float]
    from_cache: bool
    plan: bytes = field(repr=False)


EngineOf = Callable[[Driver, Network, Precision, int], Runnable]
"""An engine of a network, computed in a precision, for a batch."""


def plan_for(driver: Driver, content: bytes, exact: bool, max_batch: int, engine_of: EngineOf) -> Choice:
    """The plan of a model for this machine: from the cache, or built and kept.

    A quantised model is int8; another one float16, and float32 instead (with a line in the log) where float16
    changes its outputs too much or the model cannot be rewritten. What was refused once is remembered.

    :param exact: float32 instead of float16, and without TensorFloat-32; so too where a quantised model is
        not int8.
    :param engine_of: makes the engine by which the loss is measured.
    :raises ModelError: TensorRT cannot take the model.
    :raises BackendError: the build or the load failed, or a quantised model's int8 is too inaccurate.
    """
    library = load_library()
    if library.portable:
        check_architecture(library, driver.info.arch)
    precision = precision_of(content, exact)
    try:
        return _plan(library, driver, content, precision, exact, max_batch, engine_of)
    except _RefusedError as refusal:
        if precision == "int8":
            raise BackendError(f"TensorRT is not used: {refusal}; use another model.") from refusal
        logger.warning("TensorRT computes in float32: %s.", refusal)
    return _plan(library, driver, content, "fp32", exact, max_batch, engine_of)


def precision_of(content: bytes, exact: bool) -> Precision:
    """What a model is computed in: int8 where it is quantised, else float16 unless it must be exact."""
    if is_quantised(content):
        return "int8"
    return "fp32" if exact else "fp16"


def prepare(content: bytes, precision: Precision) -> bytes:
    """The model as TensorRT takes it for this precision.

    :raises ModelError: it cannot be rewritten.
    :raises MissingExtraError: rewriting it needs the onnx package.
    """
    if precision == "fp32":
        return content
    return to_half(content) if precision == "fp16" else to_symmetric(content)


def predicted_loss(content: bytes, prepared: bytes) -> dict[str, float]:
    """What rewriting a model loses, found without a GPU: both run in ONNX Runtime, which rounds likewise.

    :raises ModelError: ONNX Runtime cannot run one of them.
    """
    from stream.inference.backend_onnxruntime import OnnxRuntimeEngine, describe

    inputs, _ = describe(content)
    batch = (inputs[0].shape[0] if inputs and inputs[0].shape else None) or 1
    return _measured(OnnxRuntimeEngine(prepared, None, None, batch), content, batch)


class _RefusedError(Exception):
    """A precision that is not used; says why, as a clause."""


def _plan(
    library: Library,
    driver: Driver,
    content: bytes,
    precision: Precision,
    exact: bool,
    max_batch: int,
    engine_of: EngineOf,
) -> Choice:
    """Raises `_RefusedError` where the precision loses too much or the model cannot be rewritten for it."""
    name = f"{precision}-exact" if exact else precision
    version = f"{library.name} {library.version} conversion {CONVERSION}"
    key = tensorrt_cache.plan_key(content, version, driver.info, name, max_batch)
    kept = tensorrt_cache.load(key, "plan")
    if kept is not None:
        if kept.notes.get("refused"):
            raise _RefusedError(str(kept.notes["refused"]))
        try:
            network = Network(library, driver, kept.payload, key)
            return Choice(network, precision, dict(kept.notes.get("loss", {})), True, kept.payload)
        except BackendError as error:
            logger.warning("A kept engine is built anew: %s", error)
    built = _build(library, driver, _prepared(content, precision), key, exact, max_batch)
    network = Network(library, driver, built.plan, key)
    batch = 1 if network.is_free else max_batch
    engine = None if precision == "fp32" else engine_of(driver, network, precision, batch)
    loss = {} if engine is None else _measured(engine, content, batch)
    reason = too_lossy(loss, precision)
    notes = {"loss": loss} if reason is None else {"loss": loss, "refused": reason}
    tensorrt_cache.store(key, "plan", built.plan if reason is None else b"", notes)
    if reason is not None:
        raise _RefusedError(reason)
    return Choice(network, precision, loss, False, built.plan)


def _prepared(content: bytes, precision: Precision) -> bytes:
    try:
        return prepare(content, precision)
    except ModelError as error:
        if precision == "int8":
            raise
        raise _RefusedError(str(error).rstrip(".")) from error


def _build(
    library: Library, driver: Driver, prepared: bytes, key: PlanKey, exact: bool, max_batch: int
) -> Built:
    """Build for this GPU behind a bar, with the timing cache of earlier builds where there is one."""
    arch = driver.info.arch if library.portable else None
    timing = tensorrt_cache.load(_timing_key(key), "timing") if not library.portable else None
    options = BuildOptions(max_batch, arch, exact, timing.payload if timing is not None else b"")
    logger.info("Building a TensorRT engine for %s with %s; it is kept.", key.gpu, key.library)

    def work(progress: Progress) -> Built:
        with driver.current():  # on this thread, which is not the caller's
            return build_plan(library, prepared, options, progress)

    built = run_with_bar(f"Building a TensorRT engine for {key.gpu}", work)
    if built.timing_cache:
        tensorrt_cache.store(_timing_key(key), "timing", built.timing_cache)
    return built


def _timing_key(key: PlanKey) -> PlanKey:
    """How long a kernel takes depends on the machine only, not on the model."""
    return PlanKey(key.gpu, key.arch, key.library, key.driver, "", "", 0)


def _measured(engine: Runnable, content: bytes, batch: int) -> dict[str, float]:
    """Loss of ``engine``, which is closed then, against the model as it is in float32 ONNX Runtime."""
    from stream.inference.backend_onnxruntime import OnnxRuntimeEngine

    reference = OnnxRuntimeEngine(content, None, None, batch)
    try:
        return accuracy_loss(engine, reference, probe_inputs(reference.inputs))
    finally:
        engine.close()
        reference.close()
