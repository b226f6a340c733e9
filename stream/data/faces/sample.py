"""One training sample, and what of it needs no renderer: flags, places in the crop, the crop's jitter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.data.faces.head import GUMS, MOUTH_SOCKET, TEETH
from stream.data.faces.kit import FRONT_FACE_PART
from stream.data.faces.prop import HAIR_PART, OCCLUDER_PART
from stream.data.faces.render import BACKGROUND_PART, PixelLabels
from stream.data.shards import (
    DEPTH_KNOWN,
    FOREGROUND,
    HAIR,
    IDENTITIES,
    MASK_KNOWN,
    MOUTH,
    OCCLUDER,
    SKIN,
)
from stream.geometry import crop_from_image, transform_points
from stream.types import Array, Crop, Intrinsics

JITTER_SHIFT, JITTER_SCALE, JITTER_ANGLE = 0.035, 0.04, 0.05
"""Standard deviations of the crop's jitter: of half its side, of its scale (log), radians."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample; the arrays are those of `stream.data.faces.dataset`, without the first axis.

    Yaw and pitch are in degrees, signs as in `stream.face.pose.euler_angles`; a synthetic head's are relative
    to its line of sight, a photo's (seen from afar, in the middle) to the camera's axis.
    """

    image: Array
    depth: Array
    normal: Array
    flags: Array
    uv: Array
    mean_depth: Array
    kind: int
    topology: int
    tone: int
    yaw: float
    pitch: float
    pose: Array
    camera: Intrinsics
    crop: Crop
    distance: float
    occlusion: float
    landmarks: Array
    identity: Array
    expression: Array
    light: Array


def jittered(crop: Crop, rng: Generator, widen: float = 1.0) -> Crop:
    """The crop as an imperfect tracker would give it, ``widen`` times as wide."""
    dx, dy = rng.normal(0, JITTER_SHIFT, 2) * crop.half
    scale = widen * float(np.exp(rng.normal(0, JITTER_SCALE)))
    return Crop(crop.x + dx, crop.y + dy, crop.half * scale, crop.angle + float(rng.normal(0, JITTER_ANGLE)))


def part_flags(part: Array) -> Array:
    """(S, S) uint8 bits of `stream.data.shards` of the parts drawn."""
    drawn, occluder = part != BACKGROUND_PART, part == OCCLUDER_PART
    flags = np.full(part.shape, MASK_KNOWN, np.uint8)
    flags |= drawn * np.uint8(DEPTH_KNOWN)
    flags |= (drawn & ~occluder) * np.uint8(FOREGROUND)
    flags |= np.isin(part, (0, FRONT_FACE_PART)) * np.uint8(SKIN)
    flags |= np.isin(part, (MOUTH_SOCKET, GUMS, TEETH)) * np.uint8(MOUTH)
    flags |= (part == HAIR_PART) * np.uint8(HAIR)
    return flags | occluder * np.uint8(OCCLUDER)


def hidden_skin(labels: PixelLabels, flags: Array) -> float:
    """Share of the bare face's skin that something hides; ``flags`` (S, S) are those of ``labels``."""
    bare = part_flags(labels.bare) & SKIN > 0
    return 1.0 - float((bare & (flags & SKIN > 0)).sum()) / max(int(bare.sum()), 1)


def in_crop(points: Array, crop: Crop) -> Array:
    """Image points (n, 2) in crop coordinates, float32."""
    return transform_points(crop_from_image(crop, 2), points).astype(np.float32) - np.float32(0.5)


def padded(identity: Array) -> Array:
    """(`IDENTITIES`,) float32, 0 behind the coefficients that the model has."""
    return np.pad(identity, (0, IDENTITIES - len(identity))).astype(np.float32)


def pose_matrix(rotation: Array, translation: Array) -> Array:
    """(4, 4) float32, head to camera."""
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return pose
