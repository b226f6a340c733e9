"""Whether the extra steps for stills pay: merging of parts and fusion with normals, each against none."""

from __future__ import annotations

import cv2
import numpy as np

from stream.depth.estimator import DepthEstimator
from stream.depth.fusion import LENGTH, fuse_normals
from stream.depth.merging import CENTRES, merge_parts, part_crop
from stream.evaluation.alignment import fit_depth
from stream.evaluation.methods import seen_along, whole_picture
from stream.evaluation.metrics import camera_normals, depth_l1, mean, mean_angle, smooth_inside
from stream.evaluation.shards import DEPTH_KNOWN, OCCLUDER, SKIN, Samples
from stream.types import Array, Depth

LENGTHS = (0.5 * LENGTH, LENGTH, 2 * LENGTH)


def measure_detail(estimator: DepthEstimator, samples: Samples) -> dict[str, dict[str, float]]:
    """Means over the samples' skin, by variant: ``mae_mm`` with tilt removed, ``normals`` in degrees.

    Variants are ``plain``, ``merged`` and, where the network gives normals, ``fused x`` for each of `LENGTHS`
    and ``merged fused``. Note that a sample holds no more detail than its own pixels: what merging gains on
    pictures larger than the network's input shows only as far as the samples are larger than it.

    :raises InputError: a sample cannot be used.
    """
    depths: dict[str, list[Array]] = {}
    for image, sight in zip(samples.image, samples.sight, strict=True):
        for name, depth in _variants(estimator, image, sight).items():
            depths.setdefault(name, []).append(_resized(depth.map, samples.size))
    return {name: _judge(np.stack(maps), samples) for name, maps in depths.items()}


def _variants(estimator: DepthEstimator, image: Array, sight: Array) -> dict[str, Depth]:
    crop, camera = whole_picture(len(image)), seen_along(sight, len(image))
    plain = estimator.estimate_flipped_mean(image, crop, camera)
    parts = [(c, estimator.estimate_flipped_mean(image, part_crop(crop, c), camera)) for c in CENTRES]
    found = {"plain": plain, "merged": merge_parts(plain, parts)}
    if plain.normal is not None:
        found |= {f"fused {length:.2f}": fuse_normals(plain, length) for length in LENGTHS}
        found["merged fused"] = fuse_normals(found["merged"])
    return found


def _judge(depth: Array, samples: Samples) -> dict[str, float]:
    truth = samples.depth.astype(np.float32)
    where = (samples.flags & SKIN > 0) & (samples.flags & DEPTH_KNOWN > 0) & (samples.flags & OCCLUDER == 0)
    unit = samples.crop[:, 2] / samples.camera[:, 0] * samples.distance
    fitted = fit_depth(depth, truth, where, tilt=True)
    # A sample with too little skin has no fit, and no value.
    enough = np.isfinite(fitted).all(axis=(1, 2))
    where &= enough[:, None, None]
    error = depth_l1(np.nan_to_num(fitted), truth, where) * unit
    surface = camera_normals(depth, samples.crop, samples.camera, samples.distance)
    angle = mean_angle(surface, samples.normal.astype(np.float32), smooth_inside(truth, where))
    return {"mae_mm": mean(error), "normals": mean(angle)}


def _resized(depth: Array, size: int) -> Array:
    if depth.shape[0] == size:
        return depth
    shrinking = depth.shape[0] > size
    return np.asarray(
        cv2.resize(depth, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
    )
