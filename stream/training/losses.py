"""What the depth network is trained to make small."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from stream.data.shards import PHOTO
from stream.evaluation.metrics import EDGE_SLOPE
from stream.networks.network import DepthMaps
from stream.training.batches import Batch
from stream.training.settings import LossSettings
from stream.training.task import Losses

SCALES = 4
"""Slopes are compared between pixels 1, 2, 4 and 8 apart."""

MOUTH_ERROR = 0.2
"""Crop units (2 cm) at which an error inside a mouth counts as much as one of skin with the same weight."""

PARTS = ("depth", "shape", "slope", "normal", "normal_map", "mask", "spread", "consistency")
"""Names of the parts, which are those of their weights in `LossSettings`."""


def depth_losses(maps: DepthMaps, batch: Batch, settings: LossSettings, twin: Tensor | None = None) -> Losses:
    """Compare a prediction with its labels.

    :param maps: what the network says of the batch.
    :param twin: (M, 1, S, S), the teacher's depth of ``batch.again``, in the orientation of the batch, NaN
        where it counts for nothing; ``None`` leaves the consistency out.

    Every part is a mean over the pixels whose label is known, weighted by `pixel_weight`; it is 0 where no
    label is known. Parts whose weight is 0 are not computed, and are 0.
    """
    weight = pixel_weight(batch, settings)
    known = weight * batch.depth_known
    # Mouths are to be deep; no more is asked of the shape of teeth and tongue than of any surface.
    deep = torch.where(batch.mouth, settings.mouth * _photo_weight(batch, settings), weight)
    deep = deep * batch.depth_known
    error = maps.depth - batch.depth
    face = deep * (batch.skin | batch.mouth)
    border = torch.where(batch.border | batch.occluder, settings.border, 1.0) * _photo_weight(batch, settings)
    computations = {
        "depth": lambda: weighted_mean(_size(error, batch.mouth), deep),
        "shape": lambda: shape_loss(error, face, known * batch.skin, batch.mouth),
        "slope": lambda: slope_loss(error, batch.depth, known),
        "normal": lambda: surface_loss(maps.depth, batch, weight),
        "normal_map": lambda: weighted_mean(1 - _dot(maps.normal, batch.normal), weight * batch.normal_known),
        "mask": lambda: mask_loss(maps.mask, batch.foreground, border * batch.mask_known),
        "spread": lambda: spread_loss(maps.spread, error.detach().abs(), known),
        "consistency": lambda: consistency_loss(maps.depth, batch, twin),
    }
    zero = maps.depth.new_zeros(())
    parts = {name: computations[name]() if getattr(settings, name) else zero for name in PARTS}
    total = sum((getattr(settings, name) * part for name, part in parts.items()), zero)
    return Losses(total, parts)


@torch.no_grad()
def pixel_weight(batch: Batch, settings: LossSettings) -> Tensor:
    """(N, 1, S, S): what a pixel counts: more on the face, less in a photo."""
    return torch.where(batch.skin | batch.mouth, settings.skin, 1.0) * _photo_weight(batch, settings)


def _size(error: Tensor, mouth: Tensor) -> Tensor:
    """The absolute error; inside mouths its square over `MOUTH_ERROR`.

    Tongue, teeth or a hollow of 4 cm may be what a dark mouth holds. Absolute errors lead to the median of
    that, which is too shallow, squares to the mean.
    """
    return torch.where(mouth, error.square() / MOUTH_ERROR, error.abs())


def shape_loss(error: Tensor, weight: Tensor, fitted: Tensor, mouth: Tensor) -> Tensor:
    """Mean error (`_size`) left after taking each picture's best plane (weighted least squares) out of it.

    As the scale- and shift-invariant loss of Ranftl et al. (2020), eq. 1-5, aligns depths before it compares
    them; here a tilt is taken out too, for how a head leans changes most of its depths and none of its
    shape, but no scale: crop units have one, and it is how far the nose stands out. The fit is held fixed
    in the gradient, since at its optimum a small change of it changes the residual to second order only.

    :param error: (N, 1, S, S) predicted less true depth.
    :param fitted: (N, 1, S, S) weights of the fit: skin alone, or a mouth that is too shallow would tilt it.
    :param mouth: (N, 1, S, S) bool, inside of mouths.
    """
    with torch.no_grad():
        size = error.shape[-1]
        axis = (2 * torch.arange(size, dtype=error.dtype, device=error.device) + 1) / size - 1
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        basis = torch.stack([torch.ones_like(x), x, y]).flatten(1)
        weights = fitted.flatten(1)
        moments = torch.einsum("np,ip,jp->nij", weights, basis, basis)
        # The small diagonal keeps pictures without a known pixel solvable.
        moments = moments + 1e-3 * torch.eye(3, device=error.device)
        fit = torch.linalg.solve(moments, (weights * error.detach().flatten(1)) @ basis.mT)
        plane = (fit @ basis).view_as(error)
    return weighted_mean(_size(error - plane, mouth), weight)


def slope_loss(error: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the depth's slope along x and y, over `SCALES` resolutions.

    :param error: (N, 1, S, S) predicted less true depth: the slope's error is the error's slope.

    Of every scale's grid of pixels neighbours are compared (Ranftl et al. 2020, eq. 11); a slope is crop
    units of depth per crop unit of picture, so that sizes and scales weigh alike. Pairs with an edge of the
    true depth between them (`EDGE_SLOPE`) are left out.
    """
    total = error.new_zeros(())
    known = weight > 0
    for axis in (-1, -2):
        joined = smooth_steps(truth, known, axis)
        for scale in range(SCALES):
            reach = 1 << scale
            if scale:
                joined = _both(joined, reach // 2, axis)
            step = 2 * reach / error.shape[-1]
            grid = (..., slice(None, None, reach), slice(None, None, reach))
            difference = _difference(error[grid], 1, axis).abs() / step
            pairs = difference.shape
            count = weight[grid][..., : pairs[-2], : pairs[-1]] * joined[grid][..., : pairs[-2], : pairs[-1]]
            total = total + weighted_mean(difference, count) / (2 * SCALES)
    return total


def smooth_steps(truth: Tensor, known: Tensor, axis: int) -> Tensor:
    """Where a pixel and the next along ``axis`` are both known and no edge is between; one shorter there."""
    limit = EDGE_SLOPE * 2 / truth.shape[-1]
    return _both(known, 1, axis) & (_difference(truth, 1, axis).abs() < limit)


def surface_loss(depth: Tensor, batch: Batch, weight: Tensor) -> Tensor:
    """Mean of 1 - cosine between the normals of the predicted depth and those of the true surface.

    The prediction's come from central differences, where the four neighbours are known and no edge of the
    true depth lies between; the true ones are exact (`stream.training.targets`).
    """
    step = 4 / depth.shape[-1]
    x = _difference(depth, 2, -1)[:, :, 1:-1] / step
    y = _difference(depth, 2, -2)[..., 1:-1] / step
    true_x, true_y, true_z = batch.normal[..., 1:-1, 1:-1].split(1, dim=1)
    # Written out: torch's cosine over a middle axis takes ten times as long on a CPU.
    cosine = (x * true_x + y * true_y - true_z) * torch.rsqrt(x.square() + y.square() + 1)
    usable = batch.normal_known[..., 1:-1, 1:-1]
    for axis, inner in ((-1, (slice(1, -1), slice(None))), (-2, (slice(None), slice(1, -1)))):
        usable = usable & _both(smooth_steps(batch.depth, batch.depth_known, axis), 1, axis)[(..., *inner)]
    return weighted_mean(1 - cosine, weight[..., 1:-1, 1:-1] * usable)


def mask_loss(logit: Tensor, foreground: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of the foreground."""
    error = functional.binary_cross_entropy_with_logits(logit, foreground.to(logit), reduction="none")
    return weighted_mean(error, weight)


def spread_loss(spread: Tensor, error: Tensor, weight: Tensor) -> Tensor:
    """Negative log-likelihood of the error under a Laplace distribution of scale b = exp(``spread``).

    Seed 001, eq. 4.6 (after Kendall and Gal 2017): sqrt(2) |d - d*| / b + log(sqrt(2) b).

    :param error: (N, 1, S, S) absolute error of depth, without a gradient: a depth network that earns by
        being unsure learns less where it is hard, which is at noses, lips and edges.
    """
    return weighted_mean(math.sqrt(2) * error * torch.exp(-spread) + spread + math.log(math.sqrt(2)), weight)


def consistency_loss(depth: Tensor, batch: Batch, twin: Tensor | None) -> Tensor:
    """Mean absolute difference between photos' depth and their twins' (Tarvainen and Valpola 2017).

    The network sees a photo spoilt, its moving average sees the photo mirrored and clean; no label is
    needed, so that hair and the person's own shape are taught too, which the fitted labels lack.
    """
    if twin is None or len(batch.again) == 0:
        return depth.new_zeros(())
    known = torch.isfinite(twin)
    return weighted_mean((depth[batch.again] - twin.nan_to_num()).abs(), known.to(depth))


def _photo_weight(batch: Batch, settings: LossSettings) -> Tensor:
    return torch.where(batch.kind == PHOTO, settings.photo, 1.0)[:, None, None, None]


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values (...) by weights of the same shape; 0 where all weights are."""
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(dim=1, keepdim=True)


def _difference(values: Tensor, reach: int, axis: int) -> Tensor:
    size = values.shape[axis] - reach
    return values.narrow(axis, reach, size) - values.narrow(axis, 0, size)


def _both(known: Tensor, reach: int, axis: int) -> Tensor:
    size = known.shape[axis] - reach
    return known.narrow(axis, reach, size) & known.narrow(axis, 0, size)
