"""The depth of a still picture: all that is too slow for live capture, in one place."""

from __future__ import annotations

from stream.depth.estimator import DepthEstimator
from stream.depth.fusion import fuse_normals
from stream.depth.merging import estimate_merged
from stream.types import Array, Crop, Depth, Intrinsics

MERGE = False
"""Whether parts of the crop, enlarged, add detail (`stream.depth.merging`). Off: the network would
be given crops it was not trained on, and no set with more pixels than it takes has shown a gain yet."""

FUSE = False
"""Whether depth and normals are made to agree, where the network gives normals (`stream.depth.fusion`). Off:
with the shipped network, on 60 validation samples and a `LENGTH` of 0.04, it gains 0.3 degrees on Anny heads,
none on ICT heads and photos, and loses 0.02 to 0.08 mm on all."""


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
