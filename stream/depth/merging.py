"""Detail for still pictures: the network looks at the whole crop, then at parts of it enlarged.

From the whole crop a network knows the face's structure; from a part of it, enlarged, it sees more detail
but loses the whole. Miangoleh, Dille, Mai, Paris and Aksoy ("Boosting monocular depth estimation models to
high-resolution via content-adaptive multi-resolution merging", CVPR 2021) merge both by a network. Here,
where all is one face, a closed form does: each part's depth is fitted to the whole's by scale, offset and
tilt (least squares, outliers out), and of what it then has more, only the high frequencies are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from stream.errors import InputError
from stream.types import Array, Crop, Depth

ZOOM = 1.3
"""How much a part is enlarged; the result has so many times the base's pixels on a side."""

_REACH = 1 - 1 / ZOOM

CENTRES = ((-_REACH, -_REACH), (_REACH, -_REACH), (-_REACH, _REACH), (_REACH, _REACH))
"""Where the parts lie, crop units: four squares that cover the crop, each with the face's middle in it."""

BLUR = 0.06
"""Crop units (7 mm), standard deviation: coarser differences of a part are the whole's affair."""

MAX_DETAIL = 0.03
"""Crop units (3.5 mm): a larger difference is an edge or a mistake, and detail fades out towards it."""

MIN_SCALE, MAX_SCALE, MAX_MISFIT = 0.5, 2.0, 0.05
"""A part is left out whose fitted scale lies beyond the first two or its RMS misfit, crop units, beyond the
third."""

LEAST_OVERLAP = 0.05
"""So is one of which a smaller share is head."""

FIT_ROUNDS = 3


class _Layer(NamedTuple):
    """A part's maps laid over the large picture: depth in the whole's crop units, slopes, mask, window."""

    depth: Array
    slopes: Array | None
    mask: Array
    window: Array


def part_crop(crop: Crop, centre: tuple[float, float]) -> Crop:
    """The square around ``centre`` (crop units) of a crop, `ZOOM` times smaller."""
    c, s = math.cos(crop.angle), math.sin(crop.angle)
    x, y = centre
    return Crop(
        crop.x + crop.half * (c * x - s * y),
        crop.y + crop.half * (s * x + c * y),
        crop.half / ZOOM,
        crop.angle,
    )


def estimate_merged(estimate: Callable[[Crop], Depth], crop: Crop) -> Depth:
    """Depth of the whole crop with the detail of its four parts; five estimates in all.

    :param estimate: gives the depth of any crop, e.g. `DepthEstimator.estimate_flipped_mean` of one picture.
    :returns: maps of `merged_size` on a side; the base itself where the picture has no more pixels
        in the crop than the network takes, for then there is no detail to be had.
    :raises InputError: as ``estimate``.
    """
    base = estimate(crop)
    if 2 * crop.half <= base.map.shape[0]:
        return base
    return merge_parts(base, [(centre, estimate(part_crop(crop, centre))) for centre in CENTRES])


def merged_size(size: int) -> int:
    """Side of the merged maps, pixels: even, so that it halves."""
    return 2 * round(size * ZOOM / 2)


def merge_parts(base: Depth, parts: list[tuple[tuple[float, float], Depth]]) -> Depth:
    """The base enlarged to `merged_size`, with the parts' detail added to depth and normals.

    :param base: of the whole crop, (S, S).
    :param parts: centre in crop units and depth of each part (see `part_crop`), any size.
    :returns: mask and confidence are the base's. A part that does not fit the base adds nothing.
    :raises InputError: a depth's parts differ in shape, or are not square.
    """
    for depth in (base, *(part for _, part in parts)):
        _check(depth)
    size = merged_size(base.map.shape[0])
    whole = _lay(base, (0.0, 0.0), 1.0, size)
    total = np.zeros((size, size), np.float32)
    detail = np.zeros((size, size, 3), np.float32)
    for centre, part in parts:
        layer = _lay(part, centre, 1 / ZOOM, size)
        found = _detail(layer, whole)
        if found is not None:
            detail += found * layer.window[..., None]
            total += layer.window
    detail /= np.maximum(total, 0.25)[..., None]
    slopes = None if whole.slopes is None else whole.slopes + detail[..., 1:]
    return Depth(
        map=whole.depth + detail[..., 0],
        mask=np.clip(whole.mask, 0, 1),
        confidence=None if base.confidence is None else np.clip(_enlarge(base.confidence, size), 0, 1),
        normal=None if slopes is None else _normals(slopes),
    )


def _lay(depth: Depth, centre: tuple[float, float], reach: float, size: int) -> _Layer:
    """Resample a depth over ``centre`` +- ``reach`` of the crop to (size, size) pixels over all of it."""
    side = depth.map.shape[0]
    across, down = (_resampling(side, size, c, reach) for c in centre)
    maps = [_finite(depth.map) * np.float32(reach), depth.mask]
    if depth.normal is not None:
        normal = _finite(depth.normal)
        facing = np.maximum(-normal[..., 2], np.float32(0.1))
        maps += [normal[..., 0] / facing, normal[..., 1] / facing]
    laid = [down @ m @ across.T for m in maps]
    axis = (2 * np.arange(size) + 1) / size - 1
    # In the outer half of a map's border pixels nothing is known.
    places = [(axis - c) / reach for c in centre]
    ramps = [np.where(np.abs(u) < 1 - 1 / side, np.cos(u * np.pi / 2) ** 2, 0) for u in places]
    window = (ramps[1][:, None] * ramps[0][None, :]).astype(np.float32)
    slopes = np.stack(laid[2:], axis=-1) if depth.normal is not None else None
    return _Layer(laid[0], slopes, laid[1], window)


def _resampling(side: int, size: int, centre: float, reach: float) -> Array:
    """(size, side) float32 that takes samples over ``centre`` +- ``reach`` to ``size`` over the whole crop.

    Cubic convolution with a = -1/2 (Keys 1981), exact for parabolas; beyond the ends, the end's value. OpenCV
    rounds positions to 1/32 pixel, which would show as a grid under grazing light.
    """
    axis = (2 * np.arange(size) + 1) / size - 1
    place = ((axis - centre) / reach + 1) * side / 2 - 0.5
    first = np.floor(place).astype(int)
    weights = np.zeros((size, side))
    for k in (-1, 0, 1, 2):
        t = np.abs(place - (first + k))
        near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
        np.add.at(weights, (np.arange(size), np.clip(first + k, 0, side - 1)), np.where(t <= 1, near, far))
    return weights.astype(np.float32)


def _detail(part: _Layer, whole: _Layer) -> Array | None:
    """(S, S, 3) fine differences of depth and slopes, 0 off the head; None for a part that does not fit."""
    inside = (part.window > 0) & (whole.window > 0)
    head = inside & (part.mask > 0.5) & (whole.mask > 0.5)
    if head.sum() < LEAST_OVERLAP * max(inside.sum(), 1):
        return None
    fit = _fit(part.depth, whole.depth, head)
    if fit is None:
        return None
    scale, tilt, plane = fit
    differences = [scale * part.depth + plane - whole.depth]
    if part.slopes is not None and whole.slopes is not None:
        differences += [scale * part.slopes[..., k] + tilt[k] - whole.slopes[..., k] for k in (0, 1)]
    fine = _high_pass(np.stack(differences, axis=-1), head)
    u = np.clip(np.abs(fine[..., :1]) / MAX_DETAIL, 0, 1)
    fine *= (1 - u * u) ** 2 * head[..., None]
    return np.pad(fine, ((0, 0), (0, 0), (0, 3 - fine.shape[2])))


def _fit(part: Array, whole: Array, head: Array) -> tuple[float, Array, Array] | None:
    """Scale, tilt (2,) and plane (S, S) that take the part's depth to the whole's; None if none is good."""
    size = part.shape[0]
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    columns = np.stack([part[head], x[head], y[head], np.ones(int(head.sum()))], axis=1).astype(np.float64)
    wanted = whole[head].astype(np.float64)
    used = np.ones(len(wanted), bool)
    for _ in range(FIT_ROUNDS):
        found = np.linalg.lstsq(columns[used], wanted[used], rcond=None)[0]
        error = np.abs(columns @ found - wanted)
        used = error <= 3 * np.median(error) + 1e-6
    misfit = math.sqrt(float((error[used] ** 2).mean()))
    if not (MIN_SCALE <= found[0] <= MAX_SCALE and misfit <= MAX_MISFIT):
        return None
    plane = found[1] * x + found[2] * y + found[3]
    return float(found[0]), found[1:3], plane.astype(np.float32)


def _high_pass(values: Array, head: Array) -> Array:
    """Values less their Gaussian mean over the head alone (normalised convolution), float32."""
    sigma = BLUR * head.shape[0] / 2
    weight = head.astype(np.float32)
    share = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32(1e-3))[..., None]
    values = values.astype(np.float32)
    coarse = cv2.GaussianBlur(values * weight[..., None], (0, 0), sigma).reshape(values.shape)
    return np.asarray(values - coarse / share)


def _enlarge(values: Array, size: int) -> Array:
    return np.asarray(cv2.resize(values.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR))


def _normals(slopes: Array) -> Array:
    normal = np.concatenate([slopes, np.full((*slopes.shape[:2], 1), -1, np.float32)], axis=-1)
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True), dtype=np.float32)


def _finite(values: Array) -> Array:
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _check(depth: Depth) -> None:
    shape = depth.map.shape
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2 or depth.mask.shape != shape:
        raise InputError("Merging needs square depth maps of two pixels or more and masks of their shape.")
    if depth.normal is not None and depth.normal.shape != (*shape, 3):
        raise InputError("Merging needs one normal for each pixel of a depth map.")
    if depth.confidence is not None and depth.confidence.shape != shape:
        raise InputError("Merging needs a confidence of the depth map's shape.")
