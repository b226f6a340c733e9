"""Plans built ahead of time: for this machine's cache, or for another GPU without having it."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Any

from stream.compute.cuda.current import current_driver
from stream.errors import BackendError, ConfigError, ModelError
from stream.files import atomic_path, cache_folder
from stream.inference import tensorrt_cache
from stream.inference.backend_tensorrt import TensorRtEngine
from stream.inference.backends import MAX_BATCH, read_model
from stream.inference.tensorrt import BuildOptions, build_plan, check_architecture, load_library, why_not
from stream.inference.tensorrt_accuracy import too_lossy
from stream.inference.tensorrt_plans import plan_for, precision_of, predicted_loss, prepare
from stream.inference.tensorrt_progress import run_with_bar


def export_plan(
    path: Path, folder: Path | None, exact: bool, arch: str | None, max_batch: int
) -> dict[str, Any]:
    """Build a model's plan.

    :param path: the ONNX file.
    :param folder: where to write it; ``None`` leaves it in the cache of this machine.
    :param exact: float32 instead of float16.
    :param arch: another GPU's architecture, e.g. ``sm_86``; then no GPU is needed, and what the precision
        loses is measured in ONNX Runtime on the rewritten model.
    :returns: ``model``, ``sha256`` (of the ONNX), ``library``, ``gpu``, ``arch``, ``precision``,
        ``max_batch``, ``loss`` (relative RMS error per output), ``measured`` (where), ``bytes``, ``seconds``,
        ``from_cache`` and ``file`` (the cache's folder where none was asked for).
    :raises ConfigError: an argument is out of range.
    :raises ModelError: the model is missing or damaged, TensorRT cannot take it, or it loses too much.
    :raises BackendError: there is no library or GPU, or the library does not know the architecture.
    :raises OutputError: ``folder`` cannot be written to.
    """
    if not 1 <= max_batch <= MAX_BATCH:
        raise ConfigError(f"Batches of {max_batch} are not possible; choose 1..{MAX_BATCH}.")
    if arch is not None and not re.fullmatch(r"sm_\d{2,3}", arch):
        raise ConfigError(f"{arch!r} is no GPU architecture; write it like sm_86.")
    if arch is not None and folder is None:
        raise ConfigError("The cache is for this machine's GPU; say with --out where another's plan goes.")
    content = read_model(path)
    begun = time.perf_counter()
    if arch is None:
        result, plan = _for_this_gpu(content, exact, max_batch)
    else:
        result, plan = _for_another(content, exact, arch, max_batch)
    result["seconds"] = time.perf_counter() - begun
    if folder is not None:
        file = folder / f"{path.stem}-{result['precision']}-{result['arch']}.plan"
        with atomic_path(file) as part:
            part.write_bytes(plan)
        result["file"] = str(file)
    known = {"model": path.stem, "sha256": hashlib.sha256(content).hexdigest(), "max_batch": max_batch}
    return {**known, **result, "bytes": len(plan)}


def _for_this_gpu(content: bytes, exact: bool, max_batch: int) -> tuple[dict[str, Any], bytes]:
    if (reason := why_not()) is not None:
        raise BackendError(f"{reason} To build for another GPU, give --arch and --out.")
    driver, library = current_driver(), load_library()
    choice = plan_for(driver, content, exact, max_batch, TensorRtEngine.of_network)
    return {
        "library": f"{library.name} {library.version}",
        "gpu": driver.info.name,
        "arch": driver.info.arch,
        "precision": choice.precision,
        "loss": choice.loss,
        "measured": "on the GPU",
        "from_cache": choice.from_cache,
        "file": str(cache_folder(tensorrt_cache.FOLDER)),
    }, choice.plan


def _for_another(content: bytes, exact: bool, arch: str, max_batch: int) -> tuple[dict[str, Any], bytes]:
    library = load_library(portable=True)
    check_architecture(library, arch)
    precision = precision_of(content, exact)
    prepared = prepare(content, precision)
    loss = {} if precision == "fp32" else predicted_loss(content, prepared)
    if (reason := too_lossy(loss, precision)) is not None:
        raise ModelError(f"No plan is built: {reason}; give --precision fp32, or another model.")
    options = BuildOptions(max_batch, arch, exact)
    built = run_with_bar(
        f"Building a TensorRT engine for {arch}",
        lambda progress: build_plan(library, prepared, options, progress),
    )
    return {
        "library": f"{library.name} {library.version}",
        "gpu": arch,
        "arch": arch,
        "precision": precision,
        "loss": loss,
        "measured": "in ONNX Runtime",
        "from_cache": False,
        "file": "",
    }, built.plan
