"""What the depth network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stream.training.batches import Batch
from stream.training.settings import LossSettings
from stream.training.shards import PHOTO

SCALES = 4
"""Slopes are compared over distances of 1, 2, 4 and 8 pixels."""

EDGE = 0.1
"""A difference of true depth between neighbouring pixels, in crop units at 128 px, that is an edge: no
slope or normal is asked for across it. In general the slope ``EDGE * 128 / 2`` per crop unit."""

EDGE_SLOPE = EDGE * 128 / 2


@dataclass(frozen=True, slots=True)
class Losses:
    """The weighted sum and its parts before weighting; scalar tensors."""

    total: Tensor
    depth: Tensor
    slope: Tensor
    normal: Tensor
    mask: Tensor


def depth_losses(depth: Tensor, logit: Tensor, batch: Batch, settings: LossSettings) -> Losses:
    """Compare a prediction with its labels.

    :param depth: (N, 1, S, S) float32 crop units.
    :param logit: (N, 1, S, S) float32 logit of the foreground.

    Every part is a mean over the pixels whose label is known, in which a photo's pixels count
    ``settings.photo`` times; it is 0 where no label is known.
    """
    weight = torch.where(batch.kind == PHOTO, settings.photo, 1.0).to(depth)[:, None, None, None]
    known = weight * batch.depth_known
    parts = (
        _mean((depth - batch.depth).abs(), known),
        slope_loss(depth, batch.depth, batch.depth_known, weight),
        normal_loss(depth, batch.depth, batch.normal, batch.depth_known, weight),
        mask_loss(logit, batch.foreground, weight * batch.mask_known),
    )
    weights = (settings.depth, settings.slope, settings.normal, settings.mask)
    total = sum((scale * part for scale, part in zip(weights, parts, strict=True)), torch.zeros(()))
    return Losses(total, *parts)


def slope_loss(depth: Tensor, truth: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the depth's slope along x and y, over `SCALES` distances (Eigen & Fergus 2015
    compare gradients so; the scales follow Ranftl et al. 2020). Edges of the true depth are left out.

    A slope is crop units of depth per crop unit of picture, so that sizes and scales weigh alike.
    """
    total = depth.new_zeros(())
    for scale in range(SCALES):
        reach = 1 << scale
        step = 2 * reach / depth.shape[-1]
        for axis in (-1, -2):
            true_slope = _difference(truth, reach, axis) / step
            usable = _both(known, reach, axis) & (true_slope.abs() < EDGE_SLOPE)
            error = (_difference(depth, reach, axis) / step - true_slope).abs()
            total = total + _mean(error, weight * usable) / (2 * SCALES)
    return total


def normal_loss(depth: Tensor, truth: Tensor, normal: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Mean of 1 - cosine between the true normals and those of the predicted surface.

    The surface is taken as a height field over the crop (orthographic); the true normals come from a
    perspective camera, which differs by a few degrees at the picture's border when the face is near.
    """
    step = 4 / depth.shape[-1]
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    slope_x = _difference(depth, 2, -1)[:, :, 1:-1] / step
    slope_y = _difference(depth, 2, -2)[..., 1:-1] / step
    x, y, z = normal[inner].unbind(dim=1)
    # Written out: torch's cosine over a middle axis takes ten times as long on a CPU.
    cosine = (slope_x * x[:, None] + slope_y * y[:, None] - z[:, None]) * torch.rsqrt(
        slope_x.square() + slope_y.square() + 1
    )
    usable = known[inner]
    for axis, crop in ((-1, (slice(None), slice(None), slice(1, -1))), (-2, (..., slice(1, -1)))):
        jump = _difference(truth, 2, axis)[crop].abs() / step
        usable = usable & _both(known, 2, axis)[crop] & (jump < EDGE_SLOPE)
    return _mean(1 - cosine, weight * usable)


def mask_loss(logit: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of the foreground."""
    error = functional.binary_cross_entropy_with_logits(logit, foreground.to(logit), reduction="none")
    return _mean(error, weight)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _difference(values: Tensor, reach: int, axis: int) -> Tensor:
    size = values.shape[axis] - reach
    return values.narrow(axis, reach, size) - values.narrow(axis, 0, size)


def _both(known: Tensor, reach: int, axis: int) -> Tensor:
    size = known.shape[axis] - reach
    return known.narrow(axis, reach, size) & known.narrow(axis, 0, size)
