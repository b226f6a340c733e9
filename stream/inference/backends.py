"""Which libraries can run a network, and the choice among them."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import stat
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stream.errors import BackendError, ConfigError, ModelError
from stream.inference.engine import Engine

MAX_MODEL_BYTES = 2 << 30
"""Largest model file that is read."""

MAX_THREADS = 256
MAX_BATCH = 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What `prosopon doctor` says of one backend.

    :ivar why: the version where it is ready, else what is missing.
    :ivar how: how to get it; empty where it is ready.
    """

    name: str
    ready: bool
    why: str
    how: str


@dataclass(frozen=True, slots=True)
class _Backend:
    module: str
    engine: str
    libraries: tuple[str, ...]
    install: str


_BACKENDS = {
    "tensorrt": _Backend("backend_tensorrt", "TensorRtEngine", (), "pip install 'prosopon[gpu]'"),
    "openvino": _Backend("backend_openvino", "OpenVinoEngine", ("openvino",), "pip install openvino"),
    "onnxruntime": _Backend(
        "backend_onnxruntime", "OnnxRuntimeEngine", ("onnxruntime",), "pip install onnxruntime"
    ),
    "torch": _Backend("backend_torch", "TorchEngine", ("torch", "onnx"), "pip install 'prosopon[train]'"),
}

BACKENDS = tuple(_BACKENDS)
"""Names in the order in which ``auto`` tries them."""

DEVICE_BACKENDS = ("tensorrt", "torch")
"""Those that can read and write the GPU's memory (`stream.device.frame.DeviceNetwork`)."""


def backend_status() -> list[BackendStatus]:
    """State of every backend, in ``auto``'s order, found without importing any of the libraries."""
    return [_status(name, backend) for name, backend in _BACKENDS.items()]


def load_engine(
    model: str | Path | bytes,
    backend: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    batch: int = 1,
) -> Engine:
    """Load an ONNX model, ready to run.

    :param model: the path of an ONNX file, or its content.
    :param backend: a name from `BACKENDS`, or ``auto`` for the first of them that can run the model.
    :param threads: CPU threads for one run; the library's choice (usually one a core) where not given.
    :param precision: ``f32`` for exact float32; ``f16`` for float16 where its loss is measured and bounded,
        which is on a GPU, and else exact float32; without it the library may compute in bfloat16 or float16.
    :param batch: size given to the model's free first axis.
    :raises ConfigError: an argument is unknown or out of range.
    :raises ModelError: the file is missing, too large, damaged, or cannot run in this batch size.
    :raises BackendError: the backend, or with ``auto`` every backend, cannot run here; the message says why.
    """
    _check_arguments(backend, threads, precision, batch)
    content = read_model(model)
    names = BACKENDS if backend == "auto" else (backend,)
    refusals: dict[str, BackendError | ModelError] = {}
    for name in names:
        if backend == "auto" and (reason := _not_meant_to_run(name)) is not None:
            logger.info("The inference backend %s is passed over: %s", name, reason)
            continue
        try:
            engine = _create(name, content, threads, precision, batch)
        except (BackendError, ModelError) as error:
            refusals[name] = error
            logger.info("The inference backend %s refuses: %s", name, error)
            continue
        if refusals:
            reasons = " ".join(f"{name}: {error}" for name, error in refusals.items())
            logger.warning("Inference runs on %s, which is slower. %s", engine.backend, reasons)
        return engine
    raise _refused(refusals)


def read_model(model: str | Path | bytes) -> bytes:
    """The bytes of a model file, or ``model`` itself where it is bytes already.

    :raises ModelError: it is missing, unreadable, empty or larger than `MAX_MODEL_BYTES`.
    """
    name = "The model" if isinstance(model, bytes) else f"The model {model}"
    try:
        size = len(model) if isinstance(model, bytes) else _file_size(Path(model))
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{name} is larger than a model may be ({MAX_MODEL_BYTES >> 20} MiB).")
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
    except OSError as error:
        raise ModelError(f"{name} cannot be read: {error.strerror}.") from error
    if not content:
        raise ModelError(f"{name} is empty; get it again.")
    return content


def _file_size(path: Path) -> int:
    """Size of a regular file; a pipe or device is refused, for it could block or never end."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ModelError(f"The model {path} is not a file; give an ONNX file.")
    return state.st_size


def _check_arguments(backend: str, threads: int | None, precision: str | None, batch: int) -> None:
    if backend != "auto" and backend not in _BACKENDS:
        raise ConfigError(f"There is no inference backend {backend!r}; choose auto, {', '.join(BACKENDS)}.")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"{threads} inference threads are not possible; choose 1..{MAX_THREADS}.")
    if precision not in (None, "f32", "f16"):
        raise ConfigError(f"There is no inference precision {precision!r}; choose f32 or f16, or give none.")
    if not 1 <= batch <= MAX_BATCH:
        raise ConfigError(f"Batches of {batch} are not possible; choose 1..{MAX_BATCH}.")


def _create(name: str, content: bytes, threads: int | None, precision: str | None, batch: int) -> Engine:
    backend = _BACKENDS[name]
    if precision == "f16" and name != "tensorrt":
        precision = "f32"
    module = importlib.import_module(f"stream.inference.{backend.module}")
    engine: Engine = getattr(module, backend.engine)(content, threads, precision, batch)
    return engine


def _refused(refusals: dict[str, BackendError | ModelError]) -> BackendError | ModelError:
    """One error for all refusals; a model at fault outweighs a library that is not installed."""
    if len(refusals) == 1:
        return next(iter(refusals.values()))
    reasons = " ".join(f"{name}: {error}" for name, error in refusals.items())
    kind = ModelError if any(isinstance(error, ModelError) for error in refusals.values()) else BackendError
    return kind(f"No inference backend can run the model. {reasons}")


def _not_meant_to_run(name: str) -> str | None:
    """Why a backend is no choice here at all, which is nothing to warn of; ``None`` for all others.

    Told without loading TensorRT, so that a machine without a GPU pays nothing for it.
    """
    if name != "tensorrt":
        return None
    from stream.inference.tensorrt import why_not

    return why_not()


def _status(name: str, backend: _Backend) -> BackendStatus:
    if name == "tensorrt":
        return _tensorrt_status()
    missing = [library for library in backend.libraries if importlib.util.find_spec(library) is None]
    if missing:
        return BackendStatus(name, False, f"{' and '.join(missing)} not installed", backend.install)
    return BackendStatus(name, True, ", ".join(_version(library) for library in backend.libraries), "")


def _tensorrt_status() -> BackendStatus:
    from stream.inference.tensorrt import LIBRARIES, installed_library, why_not

    why, _, how = (why_not() or "").partition("; ")
    library = installed_library()
    version = "" if library is None else _version(LIBRARIES[library])
    found = ": ".join(part for part in (version, why) if part)
    return BackendStatus("tensorrt", not why, found, how)


def _version(library: str) -> str:
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:  # a build under another name, such as onnxruntime-gpu
        return library
