"""What the depth network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from stream.evaluation.shards import PHOTO
from stream.training.batches import Batch
from stream.training.settings import LossSettings

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
        normal_loss(depth, batch.depth, batch.depth_known, weight),
        mask_loss(logit, batch.foreground, weight * batch.mask_known),
    )
    weights = (settings.depth, settings.slope, settings.normal, settings.mask)
    total = sum((scale * part for scale, part in zip(weights, parts, strict=True)), torch.zeros(()))
    return Losses(total, *parts)


def slope_loss(depth: Tensor, truth: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the depth's slope along x and y, over `SCALES` distances.

    A slope is crop units of depth per crop unit of picture, so that sizes and scales weigh alike; what
    lies beyond an edge of the true depth is left out. Eigen and Fergus (2015) compare gradients so; the
    scales follow Ranftl et al. (2020).
    """
    total = depth.new_zeros(())
    for axis in (-1, -2):
        joined = smooth_steps(truth, known, axis)
        for scale in range(SCALES):
            reach = 1 << scale
            if scale:
                joined = _both(joined, reach // 2, axis)
            error = _difference(depth, reach, axis) - _difference(truth, reach, axis)
            step = 2 * reach / depth.shape[-1]
            total = total + _mean(error.abs() / step, weight * joined) / (2 * SCALES)
    return total


def smooth_steps(truth: Tensor, known: Tensor, axis: int) -> Tensor:
    """Where a pixel and the next along ``axis`` are both known and no edge is between; one shorter there."""
    limit = EDGE_SLOPE * 2 / truth.shape[-1]
    return _both(known, 1, axis) & (_difference(truth, 1, axis).abs() < limit)


def normal_loss(depth: Tensor, truth: Tensor, known: Tensor, weight: Tensor) -> Tensor:
    """Mean of 1 - cosine between the normals of the predicted and of the true surface.

    Both are taken as height fields over the crop, by the same central differences. The normals of the
    labels are not used here: they come from a perspective camera and from a finer surface, which together
    put them 8 degrees away from those of the true depth itself, so that they would contradict it.
    """
    step = 4 / depth.shape[-1]
    x, y = _inner_slopes(depth, step)
    true_x, true_y = _inner_slopes(truth, step)
    # Written out: torch's cosine over a middle axis takes ten times as long on a CPU.
    lengths = (x.square() + y.square() + 1) * (true_x.square() + true_y.square() + 1)
    cosine = (x * true_x + y * true_y + 1) * torch.rsqrt(lengths)
    usable = (
        _both(smooth_steps(truth, known, -1), 1, -1)[:, :, 1:-1]
        & _both(smooth_steps(truth, known, -2), 1, -2)[..., 1:-1]
    )
    return _mean(1 - cosine, weight * usable)


def mask_loss(logit: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of the foreground."""
    error = functional.binary_cross_entropy_with_logits(logit, foreground.to(logit), reduction="none")
    return _mean(error, weight)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _inner_slopes(depth: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Central differences along x and y where both exist: two tensors (N, 1, S - 2, S - 2)."""
    return _difference(depth, 2, -1)[:, :, 1:-1] / step, _difference(depth, 2, -2)[..., 1:-1] / step


def _difference(values: Tensor, reach: int, axis: int) -> Tensor:
    size = values.shape[axis] - reach
    return values.narrow(axis, reach, size) - values.narrow(axis, 0, size)


def _both(known: Tensor, reach: int, axis: int) -> Tensor:
    size = known.shape[axis] - reach
    return known.narrow(axis, reach, size) & known.narrow(axis, 0, size)
