"""Judging a network while it trains."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from stream.data.shards import ANNY, ICT, PHOTO, SYNTHETIC, Dataset, Samples
from stream.depth.maps import resized, resized_surface
from stream.depth.preprocess import to_network
from stream.depth.sight import sight_tilt
from stream.depth.slopes import normals_from_slopes
from stream.evaluation import metrics, regions
from stream.evaluation.alignment import fit_depth
from stream.networks.network import DepthNetwork, outputs_of
from stream.types import Array

CHUNK = 16

GROUPS = {"": (SYNTHETIC, ICT), "anny_": (SYNTHETIC, ANNY), "photo_": (PHOTO, None)}
"""Prefixes of what is reported, and the kind and topology of the samples behind them."""


class Predicted(NamedTuple):
    """What a network says about N samples.

    :ivar depth: (N, S, S) float32 crop units along the camera's axis.
    :ivar mask, confidence: (N, S, S) float32 in 0..1.
    :ivar normal: (N, S, S, 3) float32 unit normals in camera space, of the network's normal map.
    """

    depth: Array
    mask: Array
    confidence: Array
    normal: Array


def predict(network: DepthNetwork, samples: Samples) -> Predicted:
    """Run a network on samples and bring what it says from the line of sight to the camera.

    Maps of another size are brought to the samples'.
    """
    network.eval()
    with torch.inference_mode():
        images = torch.from_numpy(to_network(samples.image)).to(next(network.parameters()).device)
        outputs = outputs_of(network(images))
    size = samples.size
    found = {name: np.moveaxis(value.cpu().numpy(), 1, -1) for name, value in outputs.items()}
    depth = np.stack([resized_surface(one, size) for one in found["depth"][..., 0]])
    depth -= sight_tilt(samples.sight, size)
    mask, confidence = (
        np.stack([resized(one, size) for one in found[name][..., 0]]) for name in ("mask", "confidence")
    )
    seen = np.stack([resized(one, size) for one in found["normal"]])
    slopes = seen[..., :2] / -seen[..., 2:] - samples.sight[:, None, None]
    normal = normals_from_slopes(slopes, depth, samples.crop, samples.camera, samples.distance)
    return Predicted(depth, mask, confidence, normal)


def validate(network: DepthNetwork, dataset: Dataset) -> dict[str, float]:
    """Mean errors of ICT's synthetic heads, with ``anny_`` before the name of Anny's, ``photo_`` of photos.

    Keys: ``l1`` (crop units, head), ``l1_normalised`` (as seed 000 has it), ``l1_skin``, ``mm_tilt`` (skin,
    mm, after the best scale, offset and tilt), ``normals`` and ``normals_skin`` (degrees, of the depth),
    ``normals_map`` (of the network's normal map, skin), ``iou`` of the mask and ``confidence``, the
    correlation over skin pixels of low confidence with error; absent where nothing can be compared. A
    photo's head is known above the chin only, by another network.
    Definitions: `stream.evaluation.metrics`.
    """
    chunks: list[dict[str, Array]] = []
    for start in range(0, len(dataset), CHUNK):
        samples = dataset.take(np.arange(start, min(start + CHUNK, len(dataset))))
        chunks.append(_judge(predict(network, samples), samples))
    values = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    kind, topology = values.pop("kind"), values.pop("topology")
    result: dict[str, float] = {}
    for prefix, (one_kind, one_topology) in GROUPS.items():
        chosen = (kind == one_kind) & ((topology == one_topology) | (one_topology is None))
        means = {prefix + key: metrics.mean(value[chosen]) for key, value in values.items()}
        result |= {key: value for key, value in means.items() if math.isfinite(value)}
    return result


def _judge(found: Predicted, samples: Samples) -> dict[str, Array]:
    head, skin = regions.head(samples), regions.skin(samples)
    truth = samples.depth.astype(np.float32)
    surface = metrics.camera_normals(found.depth, samples.crop, samples.camera, samples.distance)
    smooth, smooth_skin = (metrics.smooth_inside(truth, where) for where in (head, skin))
    fitted = fit_depth(found.depth, truth, skin, tilt=True)
    fits = np.isfinite(fitted).all(axis=(1, 2))[:, None, None]
    unit = samples.crop[:, 2] / samples.camera[:, 0] * samples.distance
    return {
        "l1": metrics.depth_l1(found.depth, truth, head),
        "l1_normalised": metrics.normalised_l1(found.depth, truth, head),
        "l1_skin": metrics.depth_l1(found.depth, truth, skin),
        "mm_tilt": metrics.depth_l1(np.nan_to_num(fitted), truth, skin & fits) * unit,
        "normals": metrics.mean_angle(surface, samples.normal, smooth),
        "normals_skin": metrics.mean_angle(surface, samples.normal, smooth_skin),
        "normals_map": metrics.mean_angle(found.normal, samples.normal, smooth_skin),
        "iou": metrics.mask_iou(found.mask, regions.foreground(samples), regions.mask_known(samples)),
        "confidence": _telling(found.confidence, np.abs(found.depth - truth), skin),
        "kind": samples.kind,
        "topology": samples.topology,
    }


def _telling(confidence: Array, error: Array, where: Array) -> Array:
    """(N,) correlation of low confidence with large error over each sample's pixels of ``where``, or NaN."""
    values = np.full(len(where), np.nan)
    for row, inside in enumerate(where):
        doubt, missed = 1 - confidence[row][inside], error[row][inside]
        if len(doubt) > 1 and doubt.std() > 0 and missed.std() > 0:
            values[row] = np.corrcoef(doubt, missed)[0, 1]
    return values
