"""The one place that converts between the frames of reference named in `stream.types`."""

from __future__ import annotations

import math

import numpy as np

from stream.errors import ConfigError
from stream.types import Array, Crop, Intrinsics

DEFAULT_FOV = 55.0
"""Diagonal field of view of an ordinary webcam, degrees."""

INTER_PUPIL_MM = 63.0
"""Adult mean inter-pupil distance; sets the scale where nobody calibrated it."""

MIN_FOV, MAX_FOV = 5.0, 160.0


def intrinsics_from_fov(width: int, height: int, diagonal_degrees: float = DEFAULT_FOV) -> Intrinsics:
    """Pinhole camera with square pixels and a centred principal point from its diagonal field of view.

    :raises ConfigError: the angle is not within 5..160 degrees, or the size is not positive.
    """
    if not MIN_FOV <= diagonal_degrees <= MAX_FOV:
        raise ConfigError(
            f"--fov is {diagonal_degrees} but must be between {MIN_FOV:g} and {MAX_FOV:g} degrees."
        )
    if width < 1 or height < 1:
        raise ConfigError(f"An image of {width}x{height} pixels has no camera; give a real size.")
    focal = math.hypot(width, height) / 2 / math.tan(math.radians(diagonal_degrees) / 2)
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


def camera_matrix(intrinsics: Intrinsics) -> Array:
    """(3, 3) float64 OpenCV camera matrix, for image coordinates with the origin at a pixel centre."""
    return np.array(
        [[intrinsics.fx, 0.0, intrinsics.cx], [0.0, intrinsics.fy, intrinsics.cy], [0.0, 0.0, 1.0]]
    )


def project(points: Array, intrinsics: Intrinsics) -> Array:
    """Camera points (N, 3) mm to image points (N, 2) pixels; same float dtype as the input."""
    z = points[:, 2]
    x = points[:, 0] / z * intrinsics.fx + intrinsics.cx
    y = points[:, 1] / z * intrinsics.fy + intrinsics.cy
    return np.stack([x, y], axis=1)


def image_from_crop(crop: Crop, size: int) -> Array:
    """(2, 3) float64 similarity that takes crop PIXEL coordinates to image pixel coordinates.

    Crop pixels have their origin at the top-left pixel's centre of a ``size`` x ``size`` picture, so
    pixel p lies at crop coordinate ``(2 p + 1) / size - 1``.
    """
    scale = 2 * crop.half / size
    c, s = math.cos(crop.angle) * scale, math.sin(crop.angle) * scale
    middle = (size - 1) / 2
    return np.array(
        [
            [c, -s, crop.x - c * middle + s * middle],
            [s, c, crop.y - s * middle - c * middle],
        ]
    )


def crop_from_image(crop: Crop, size: int) -> Array:
    """(2, 3) float64 inverse of `image_from_crop`: image pixels to crop pixels."""
    forward = image_from_crop(crop, size)
    inverse = np.linalg.inv(forward[:, :2])
    return np.hstack([inverse, -inverse @ forward[:, 2:]])


def transform_points(matrix: Array, points: Array) -> Array:
    """Apply a (2, 3) or (4, 4)/(3, 4) affine to points (N, 2) or (N, 3)."""
    dims = points.shape[1]
    return points @ matrix[:dims, :dims].T + matrix[:dims, dims]


def mm_per_crop_unit(crop: Crop, intrinsics: Intrinsics, distance: float) -> float:
    """Millimetres in one crop unit (half the crop's width) at ``distance`` mm along the optical axis."""
    return crop.half / intrinsics.fx * distance


def camera_to_gltf(points: Array) -> Array:
    """Camera millimetres (x right, y down, z forward) to glTF metres (x right, y up, z towards the viewer).

    For directions (normals) use `camera_to_gltf_direction`.
    """
    return camera_to_gltf_direction(points) * np.float32(1e-3)


def camera_to_gltf_direction(vectors: Array) -> Array:
    """Turn direction vectors (N, 3) from camera to glTF axes, lengths unchanged."""
    return vectors * np.array([1.0, -1.0, -1.0], dtype=vectors.dtype)
