"""Which pixels of a sample count for what. All masks are (N, S, S) bool."""

from __future__ import annotations

import cv2
import numpy as np

from stream.data.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN, MOUTH, OCCLUDER, SKIN, Samples
from stream.types import Array


def head(samples: Samples) -> Array:
    """The head with hair, glasses and neck, where its depth is known; nothing that is held before it."""
    return has(samples, DEPTH_KNOWN) & ~has(samples, OCCLUDER)


def skin(samples: Samples) -> Array:
    """The face's skin where its depth is known: the region of every measure in mm."""
    return head(samples) & has(samples, SKIN)


def mouth_inside(samples: Samples) -> Array:
    """What is seen through the open lips: gums, teeth, tongue and the hollow behind."""
    return head(samples) & has(samples, MOUTH)


def occluder(samples: Samples) -> Array:
    """A hand or an object before the head."""
    return has(samples, OCCLUDER)


def foreground(samples: Samples) -> Array:
    """What the mask should hold."""
    return has(samples, FOREGROUND) & ~has(samples, OCCLUDER)


def mask_known(samples: Samples) -> Array:
    """Where foreground and background are told apart."""
    return has(samples, MASK_KNOWN)


def has(samples: Samples, bit: int) -> Array:
    """Where a flag of `stream.data.shards` is set."""
    return np.asarray((samples.flags & bit) > 0)


def spread(depth: Array) -> Array:
    """Give every pixel of (S, S) float32 that is not finite the value of its nearest other; 0 if none is."""
    missing = ~np.isfinite(depth)
    if missing.all():
        return np.zeros_like(depth)
    if not missing.any():
        return depth
    _, labels = cv2.distanceTransformWithLabels(
        missing.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(labels.max() + 1, np.float32)
    value_of[labels[~missing]] = depth[~missing]
    return value_of[labels]
