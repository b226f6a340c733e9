"""Judging a network while it trains."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.evaluation import metrics
from stream.evaluation.shards import (
    DEPTH_KNOWN,
    FOREGROUND,
    MASK_KNOWN,
    PHOTO,
    SYNTHETIC,
    Dataset,
    Samples,
)
from stream.types import Array

CHUNK = 32


def predict(network: nn.Module, images: Array) -> tuple[Array, Array]:
    """Depth along the line of sight and mask probability, (N, S, S) float32, of (N, S, S, 3) uint8 images."""
    network.eval()
    with torch.inference_mode():
        depth, logit = network(torch.from_numpy(to_network(images)))
        return depth[:, 0].numpy(), torch.sigmoid(logit)[:, 0].numpy()


def validate(network: nn.Module, dataset: Dataset) -> dict[str, float]:
    """Mean depth L1 (crop units), normals (degrees) and mask IoU, of synthetic samples and photos apart.

    Keys: ``l1``, ``normals``, ``iou``, and with ``photo_`` before them; absent where nothing can be compared
    (a photo's background is not known, so it has no IoU).
    """
    chunks: list[dict[str, Array]] = []
    for start in range(0, len(dataset), CHUNK):
        samples = dataset.take(np.arange(start, min(start + CHUNK, len(dataset))))
        depth, mask = predict(network, samples.image)
        chunks.append(_judge(depth - sight_tilt(samples.sight, samples.size), mask, samples))
    values = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    kind = values.pop("kind")
    result: dict[str, float] = {}
    for prefix, chosen in (("", kind == SYNTHETIC), ("photo_", kind == PHOTO)):
        if chosen.any():
            means = {prefix + key: metrics.mean(value[chosen]) for key, value in values.items()}
            result |= {key: value for key, value in means.items() if math.isfinite(value)}
    return result


def _judge(depth: Array, mask: Array, samples: Samples) -> dict[str, Array]:
    known = (samples.flags & DEPTH_KNOWN) > 0
    return {
        "l1": metrics.depth_l1(depth, samples.depth, known),
        "normals": metrics.normal_degrees(depth, samples.normal, samples.depth, known),
        "iou": metrics.mask_iou(mask, (samples.flags & FOREGROUND) > 0, (samples.flags & MASK_KNOWN) > 0),
        "kind": samples.kind,
    }
