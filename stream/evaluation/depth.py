"""The short judgement of a network, for the manifest and the release: no table, no alignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stream.data.shards import PHOTO, SYNTHETIC, Dataset, Samples
from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.evaluation import metrics, regions
from stream.evaluation.methods import resized, resized_depth
from stream.evaluation.summary import plain
from stream.inference.engine import Engine
from stream.types import Array

Predictor = Callable[[Samples], tuple[Array, Array]]
"""Samples to depth (N, S, S) in crop units along the camera's axis, and the mask (N, S, S) in 0..1."""

KINDS = {"synthetic": SYNTHETIC, "photos": PHOTO}
CHUNK = 32


def evaluate_depth(predictors: dict[str, Predictor], dataset: Dataset) -> dict[str, Any]:
    """Judge every predictor on every sample of a split; nothing is aligned or scaled to the truth.

    :returns: by kind of sample (``synthetic``: exact labels; ``photos``: weak ones, fitted to landmarks)
        ``samples`` and ``methods``: by predictor ``l1`` and ``l1_skin`` (crop units, over head and skin),
        ``normals`` and ``normals_skin`` (MAD, degrees) and ``iou`` (mask), each the mean over samples of
        `stream.evaluation.metrics`; ``None`` where nothing can be compared.
    :raises InputError: a prediction has another shape than the samples, or is not finite.
    """
    judged: dict[str, list[dict[str, Array]]] = {name: [] for name in predictors}
    kinds = []
    for start in range(0, len(dataset), CHUNK):
        samples = dataset.take(np.arange(start, min(start + CHUNK, len(dataset))))
        kinds.append(samples.kind)
        for name, predictor in predictors.items():
            judged[name].append(_judge(*predictor(samples), samples))
    kind = np.concatenate(kinds)
    return {
        name: {
            "samples": int((kind == number).sum()),
            "methods": {method: _means(chunks, kind == number) for method, chunks in judged.items()},
        }
        for name, number in KINDS.items()
        if (kind == number).any()
    }


def engine_predictor(engine: Engine) -> Predictor:
    """A network, one picture at a time and tilted by its line of sight, as in live capture."""
    side = engine.inputs[0].shape[-1] or 0

    def predict(samples: Samples) -> tuple[Array, Array]:
        size = samples.size
        results = [engine.run({"image": to_network(resized(image, side or size))}) for image in samples.image]
        depth = np.stack([resized_depth(result["depth"][0, 0], size) for result in results])
        mask = np.stack([resized(result["mask"][0, 0], size) for result in results])
        return depth - sight_tilt(samples.sight, size), mask

    return predict


def _judge(depth: Array, mask: Array, samples: Samples) -> dict[str, Array]:
    truth = samples.depth.astype(np.float32)
    head, skin = regions.head(samples), regions.skin(samples)
    normals = metrics.camera_normals(depth, samples.crop, samples.camera, samples.distance)
    return {
        "l1": metrics.depth_l1(depth, truth, head),
        "l1_skin": metrics.depth_l1(depth, truth, skin),
        "normals": metrics.mean_angle(normals, samples.normal, metrics.smooth_inside(truth, head)),
        "normals_skin": metrics.mean_angle(normals, samples.normal, metrics.smooth_inside(truth, skin)),
        "iou": metrics.mask_iou(mask, regions.foreground(samples), regions.mask_known(samples)),
    }


def _means(chunks: list[dict[str, Array]], chosen: Array) -> dict[str, float | None]:
    joined = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    return {key: plain(metrics.mean(values[chosen])) for key, values in joined.items()}
