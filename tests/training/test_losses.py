"""Losses against values worked out another way."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import bump_arrays  # noqa: E402

from stream.evaluation.shards import Samples  # noqa: E402
from stream.training.batches import Batch  # noqa: E402
from stream.training.losses import depth_losses, normal_loss, slope_loss  # noqa: E402
from stream.training.settings import LossSettings  # noqa: E402

SIZE = 64


@pytest.fixture
def batch() -> Batch:
    return Batch(Samples(**bump_arrays(4, SIZE, seed=3)))


def test_truth_has_almost_no_loss(batch):
    logit = torch.where(batch.foreground, 30.0, -30.0)
    losses = depth_losses(batch.depth, logit, batch, LossSettings())
    assert losses.depth == 0
    assert losses.slope == 0
    assert losses.mask < 1e-6
    assert abs(losses.normal) < 1e-6


def test_constant_error_costs_its_size_in_depth_and_nothing_in_slope(batch):
    losses = depth_losses(batch.depth + 0.25, torch.zeros_like(batch.depth), batch, LossSettings())
    assert losses.depth.item() == pytest.approx(0.25, abs=1e-5)
    assert losses.slope.item() == pytest.approx(0, abs=1e-4)
    assert losses.mask.item() == pytest.approx(np.log(2), abs=1e-5)


def test_photos_weigh_as_much_as_the_settings_say(batch):
    depth = batch.depth.clone()
    depth[batch.kind == 1] += 1.0
    count = batch.depth_known.sum(dim=(1, 2, 3)).double()
    photo = (batch.kind == 1).double()
    weight = torch.where(batch.kind == 1, 0.3, 1.0).double()
    expected = (count * weight * photo).sum() / (count * weight).sum()
    losses = depth_losses(depth, torch.zeros_like(depth), batch, LossSettings(photo=0.3))
    assert losses.depth.item() == pytest.approx(expected.item(), rel=1e-5)


def test_total_is_the_weighted_sum(batch):
    settings = LossSettings(depth=2, slope=3, normal=5, mask=7)
    losses = depth_losses(batch.depth * 0.5, torch.zeros_like(batch.depth), batch, settings)
    expected = 2 * losses.depth + 3 * losses.slope + 5 * losses.normal + 7 * losses.mask
    torch.testing.assert_close(losses.total, expected)


def ramp(slope_x: float, slope_y: float) -> torch.Tensor:
    axis = (2 * torch.arange(SIZE, dtype=torch.float32) + 1) / SIZE - 1
    return (slope_x * axis[None, :] + slope_y * axis[:, None])[None, None]


def test_slope_is_per_crop_unit_at_every_scale():
    known = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    weight = torch.ones(1, 1, 1, 1)
    loss = slope_loss(ramp(0.6, -0.2), ramp(0.0, 0.0), known, weight)
    assert loss.item() == pytest.approx((0.6 + 0.2) / 2, abs=1e-4)


def test_normal_loss_of_a_tilted_plane_is_one_minus_the_cosine():
    known = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    weight = torch.ones(1, 1, 1, 1)
    loss = normal_loss(ramp(1.0, 0.0), ramp(0.0, 0.0), known, weight)
    assert loss.item() == pytest.approx(1 - np.cos(np.pi / 4), abs=1e-5)
    opposite = normal_loss(ramp(1.0, 0.0), ramp(-1.0, 0.0), known, weight)
    assert opposite.item() == pytest.approx(1, abs=1e-5)


def test_nothing_is_asked_across_an_edge():
    truth = torch.zeros(1, 1, SIZE, SIZE)
    truth[..., SIZE // 2 :] = 0.9
    known = torch.ones_like(truth, dtype=torch.bool)
    assert slope_loss(torch.zeros_like(truth), truth, known, torch.ones(1, 1, 1, 1)) == 0


def test_unknown_pixels_neither_count_nor_get_a_gradient(batch):
    batch.depth_known[:, :, :, : SIZE // 2] = False
    depth = batch.depth.clone()
    depth[:, :, :, : SIZE // 2] = 7.0
    depth.requires_grad_(True)
    losses = depth_losses(depth, torch.zeros_like(batch.depth), batch, LossSettings(mask=0))
    losses.total.backward()
    assert losses.depth == 0
    assert depth.grad[:, :, :, : SIZE // 2].abs().max() == 0


def test_a_batch_without_labels_has_no_loss_and_no_nan(batch):
    batch.depth_known[:] = False
    batch.mask_known[:] = False
    losses = depth_losses(batch.depth, torch.zeros_like(batch.depth), batch, LossSettings())
    assert losses.total.item() == 0
