"""How good depth is on held-out samples, beside two answers that need no network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.errors import InputError
from stream.evaluation import metrics
from stream.evaluation.shards import (
    DEPTH_KNOWN,
    FOREGROUND,
    MASK_KNOWN,
    PHOTO,
    SKIN,
    SYNTHETIC,
    Dataset,
    Samples,
)
from stream.inference.engine import Engine
from stream.types import Array

Predictor = Callable[[Samples], tuple[Array, Array | None]]
"""Samples to depth (N, S, S) in crop units and, where it has one, the mask (N, S, S) in 0..1."""

YAW_BINS = (0, 15, 30, 45, 90)
"""Borders of the bins of absolute yaw, degrees."""

KINDS = {"synthetic": SYNTHETIC, "photos": PHOTO}
CHUNK = 32


def evaluate_depth(predictors: dict[str, Predictor], dataset: Dataset) -> dict[str, Any]:
    """Judge every predictor on every sample; nothing is aligned or scaled to the truth.

    :param dataset: a split with `Samples.mean_depth`.
    :returns: by kind of sample (``synthetic``: exact labels; ``photos``: weak ones, fitted to landmarks),
        ``samples``, ``normals_of_truth`` (what the true depth itself scores in ``normals``: the floor) and
        ``methods``: by predictor ``l1`` (crop units, all of the head whose depth is known), ``l1_skin``
        (the face's skin), ``l1_covered`` (the skin that the posed mean face covers), ``normals`` and
        ``normals_skin`` (degrees), ``iou`` (mask) and ``l1_by_yaw``. Each is the mean over samples of
        `stream.evaluation.metrics`; ``None`` where nothing can be compared.
    :raises InputError: the split has no mean face.
    """
    judged: dict[str, list[dict[str, Array]]] = {name: [] for name in (*predictors, "truth")}
    for start in range(0, len(dataset), CHUNK):
        samples = dataset.take(np.arange(start, min(start + CHUNK, len(dataset))))
        if samples.mean_depth is None:
            raise InputError("This split has no mean face to compare with; use val or test.")
        for name, predictor in {**predictors, "truth": _truth}.items():
            judged[name].append(_judge(*predictor(samples), samples))
    values = {name: _joined(chunks) for name, chunks in judged.items()}
    return {
        kind: _summary(values, values["truth"]["kind"] == number)
        for kind, number in KINDS.items()
        if (values["truth"]["kind"] == number).any()
    }


def engine_predictor(engine: Engine) -> Predictor:
    """The shipped network, one picture at a time and tilted by its line of sight, as in live capture."""

    def predict(samples: Samples) -> tuple[Array, Array]:
        results = [engine.run({"image": to_network(image)}) for image in samples.image]
        depth, mask = (
            np.concatenate([result[name][:, 0] for result in results]) for name in ("depth", "mask")
        )
        return depth - sight_tilt(samples.sight, samples.size), mask

    return predict


def plane_predictor(depth: float) -> Predictor:
    """The same depth everywhere."""
    return lambda samples: (np.full(samples.depth.shape, depth, np.float32), None)


def best_plane(dataset: Dataset) -> float:
    """The constant with the smallest mean L1 over a split's synthetic samples: their median depth."""
    known = [
        shard.depth[((shard.flags & DEPTH_KNOWN) > 0) & (shard.kind == SYNTHETIC)[:, None, None]]
        for shard in dataset.shards
    ]
    joined = np.concatenate(known)
    if len(joined) == 0:
        raise InputError("The split has no synthetic sample whose depth is known.")
    return float(np.median(joined.astype(np.float32)))


def mean_face(samples: Samples) -> tuple[Array, None]:
    """The mean face in the sample's true pose; where it does not cover, its nearest covered pixel.

    It knows the pose and the camera exactly, which no method that only sees the picture does.
    """
    if samples.mean_depth is None:
        raise InputError("This split has no mean face; use val or test.")
    return np.stack([_spread(one.astype(np.float32)) for one in samples.mean_depth]), None


def _spread(depth: Array) -> Array:
    """Give every NaN pixel of (S, S) the value of its nearest other; 0 where there is none at all."""
    missing = np.isnan(depth)
    if missing.all():
        return np.zeros_like(depth)
    _, labels = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(labels.max() + 1, np.float32)
    value_of[labels[~missing]] = depth[~missing]
    return value_of[labels]


def _truth(samples: Samples) -> tuple[Array, None]:
    return samples.depth.astype(np.float32), None


def _judge(depth: Array, mask: Array | None, samples: Samples) -> dict[str, Array]:
    known = (samples.flags & DEPTH_KNOWN) > 0
    skin = known & ((samples.flags & SKIN) > 0)
    covered = skin if samples.mean_depth is None else skin & np.isfinite(samples.mean_depth)
    truth = samples.depth.astype(np.float32)
    iou = np.full(len(samples), np.nan)
    if mask is not None:
        iou = metrics.mask_iou(mask, (samples.flags & FOREGROUND) > 0, (samples.flags & MASK_KNOWN) > 0)
    return {
        "l1": metrics.depth_l1(depth, truth, known),
        "l1_skin": metrics.depth_l1(depth, truth, skin),
        "l1_covered": metrics.depth_l1(depth, truth, covered),
        "normals": metrics.normal_degrees(depth, samples.normal, truth, known),
        "normals_skin": metrics.normal_degrees(depth, samples.normal, truth, skin),
        "iou": iou,
        "kind": samples.kind,
        "yaw": np.abs(samples.yaw),
    }


def _joined(chunks: list[dict[str, Array]]) -> dict[str, Array]:
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def _summary(values: dict[str, dict[str, Array]], chosen: Array) -> dict[str, Any]:
    """Means over the chosen samples, in plain numbers."""
    methods: dict[str, Any] = {}
    for name, judged in values.items():
        keys = [key for key in judged if key not in ("kind", "yaw")]
        methods[name] = {key: _plain(judged[key][chosen]) for key in keys}
        methods[name]["l1_by_yaw"] = {
            f"{low}-{high}": _plain(judged["l1"][chosen & (judged["yaw"] >= low) & (judged["yaw"] < high)])
            for low, high in itertools.pairwise(YAW_BINS)
        }
    floor = methods.pop("truth")["normals"]
    return {"samples": int(chosen.sum()), "normals_of_truth": floor, "methods": methods}


def _plain(values: Array) -> float | None:
    value = metrics.mean(values)
    return None if math.isnan(value) else round(value, 5)
