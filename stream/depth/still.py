"""The depth of a still picture: all that is too slow for live capture, in one place."""

from __future__ import annotations

from stream.depth.estimator import DepthEstimator
from stream.depth.fusion import fuse_normals
from stream.depth.merging import estimate_merged
from stream.types import Array, Crop, Depth, Intrinsics

MERGE = False
"""Whether parts of the crop, enlarged, add detail (`stream.depth.merging`). Off: with the shipped network it
costs 0.2 degrees and 0.03 mm on synthetic heads and 0.5 degrees and 0.06 mm on photos
(tools/measure_detail.py)."""

FUSE = False
"""Whether depth and normals are made to agree, where the network gives normals (`stream.depth.fusion`). Off:
with the shipped network it costs 0.1 mm on synthetic heads, 0.1 degrees and 0.1 mm on photos."""


def estimate_still(
    estimator: DepthEstimator, image: Array, crop: Crop, intrinsics: Intrinsics | None = None
) -> Depth:
    """Depth of the face in ``crop``: mirrored and averaged, with the detail that `MERGE` and `FUSE` allow.

    :param image: (H, W, 3) uint8 RGB.
    :returns: maps of the network's size, or larger where parts were merged.
    :raises InputError: the image or the crop cannot be used.
    """

    def estimate(square: Crop) -> Depth:
        return estimator.estimate_flipped_mean(image, square, intrinsics)

    depth = estimate_merged(estimate, crop) if MERGE else estimate(crop)
    return fuse_normals(depth) if FUSE else depth
