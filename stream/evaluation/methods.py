"""What is compared: depth networks as live capture runs them, and answers that need none."""

from __future__ import annotations

import cv2
import numpy as np

from stream.data.shards import Samples
from stream.depth import maps
from stream.depth.estimator import DepthEstimator
from stream.depth.sight import sight_tilt
from stream.errors import InputError
from stream.evaluation import regions
from stream.evaluation.judge import Method, Prediction
from stream.types import Array, Crop, Depth, Intrinsics


def network_method(estimator: DepthEstimator, flipped: bool = False) -> Method:
    """A depth network, one picture at a time, by the very code of live capture.

    :param flipped: average with the mirrored picture's result, as for still images.
    """
    run = estimator.estimate_flipped_mean if flipped else estimator.estimate

    def predict(samples: Samples) -> Prediction:
        size = samples.size
        depths = [
            run(image, whole_picture(size), seen_along(sight, size))
            for image, sight in zip(samples.image, samples.sight, strict=True)
        ]
        depth = np.stack([resized_depth(depth.map, size) for depth in depths])
        return Prediction(depth, *(_stacked(depths, name, size) for name in ("mask", "confidence", "normal")))

    return predict


def whole_picture(size: int) -> Crop:
    """The crop that is a whole sample."""
    middle = (size - 1) / 2
    return Crop(middle, middle, size / 2, 0.0)


def seen_along(sight: Array, size: int) -> Intrinsics:
    """A camera of a sample's own pixels in which `whole_picture` has this line of sight (2,)."""
    focal = float(size)
    cx, cy = ((size - 1) / 2 - focal * float(tangent) for tangent in sight)
    return Intrinsics(focal, focal, cx, cy, size, size)


def best_plane(samples: Samples) -> Prediction:
    """For each sample the constant that is nearest to its true depth: the median over the head."""
    inside = np.where(regions.head(samples), samples.depth.astype(np.float32), np.nan)
    count = np.isfinite(inside).any(axis=(1, 2))
    inside[~count] = 0
    middle = np.nanmedian(inside, axis=(1, 2), keepdims=True)
    return Prediction(np.broadcast_to(middle, inside.shape).astype(np.float32))


def mean_face(samples: Samples) -> Prediction:
    """The mean face in the sample's true pose, which no method that only sees the picture knows.

    :raises InputError: the split has none.
    """
    if samples.mean_depth is None:
        raise InputError("This split has no mean face to compare with; use val or test.")
    return Prediction(samples.mean_depth.astype(np.float32))


def along_axis(depth: Array, samples: Samples) -> Array:
    """Depth along the line of sight (N, S, S) as depth along the camera's axis (`stream.depth.sight`)."""
    return depth - sight_tilt(samples.sight, samples.size)


def _stacked(depths: list[Depth], name: str, size: int) -> Array | None:
    values = [getattr(depth, name) for depth in depths]
    if any(one is None for one in values):
        return None
    return np.stack([resized(one, size) for one in values])


def resized(picture: Array, size: int) -> Array:
    """(S, S) or (S, S, C) at another side: the mean over areas where it shrinks, else linear."""
    if len(picture) <= size:
        return maps.resized(picture, size)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def resized_depth(depth: Array, size: int) -> Array:
    """A depth map (S, S) likewise, but enlarged as live capture does it (`stream.depth.maps`)."""
    return maps.resized_surface(depth, size) if len(depth) < size else resized(depth, size)
