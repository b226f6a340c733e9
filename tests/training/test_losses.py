"""Losses against values worked out another way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from depth_shards import bump_arrays  # noqa: E402

from stream.data.shards import DEPTH_KNOWN, MASK_KNOWN, MOUTH, OCCLUDER, Samples  # noqa: E402
from stream.networks.network import DepthMaps  # noqa: E402
from stream.training.batches import Batch  # noqa: E402
from stream.training.losses import (  # noqa: E402
    MOUTH_ERROR,
    PARTS,
    depth_losses,
    pixel_weight,
    shape_loss,
    slope_loss,
    spread_loss,
    surface_loss,
)
from stream.training.settings import LossSettings  # noqa: E402

SIZE = 64
EVEN = LossSettings(photo=1, skin=1, mouth=1, border=1)


@pytest.fixture
def batch() -> Batch:
    return Batch(Samples(**bump_arrays(4, SIZE, seed=3)))


def said(batch: Batch, **changes: Any) -> DepthMaps:
    """The truth as a network would say it, apart from the changes."""
    maps = DepthMaps(
        batch.depth,
        torch.where(batch.foreground, 30.0, -30.0),
        torch.full_like(batch.depth, -3.0),
        batch.normal,
    )
    return maps._replace(**changes)


def test_truth_has_almost_no_loss(batch):
    parts = depth_losses(said(batch), batch, LossSettings()).parts
    for name in ("depth", "shape", "slope", "normal_map", "mask"):
        assert abs(parts[name].item()) < 2e-6, name
    # Central differences over 4 pixels are not the exact slopes; 0.003 is 4 degrees.
    assert 0 < parts["normal"] < 0.003


def test_constant_error_costs_its_size_in_depth_and_nothing_in_shape_and_slope(batch):
    parts = depth_losses(said(batch, depth=batch.depth + 0.25), batch, LossSettings()).parts
    assert parts["depth"].item() == pytest.approx(0.25, abs=1e-5)
    assert parts["shape"].item() == pytest.approx(0, abs=1e-5)
    assert parts["slope"].item() == pytest.approx(0, abs=1e-4)


def test_an_undecided_mask_costs_one_bit(batch):
    parts = depth_losses(said(batch, mask=torch.zeros_like(batch.depth)), batch, LossSettings()).parts
    assert parts["mask"].item() == pytest.approx(np.log(2), abs=1e-5)


def test_the_border_of_the_mask_counts_more(batch):
    wrong_at_border = torch.where(batch.border, 0.0, said(batch).mask)
    share = batch.border.double().mean().item()
    losses = depth_losses(said(batch, mask=wrong_at_border), batch, EVEN.model_copy(update={"border": 4}))
    assert losses.parts["mask"].item() == pytest.approx(
        math.log(2) * 4 * share / (1 + 3 * share) * 1.0, rel=1e-4
    )


def test_photos_weigh_as_much_as_the_settings_say(batch):
    depth = batch.depth.clone()
    depth[batch.kind == 1] += 1.0
    count = batch.depth_known.sum(dim=(1, 2, 3)).double()
    photo = (batch.kind == 1).double()
    weight = torch.where(batch.kind == 1, 0.3, 1.0).double()
    expected = (count * weight * photo).sum() / (count * weight).sum()
    losses = depth_losses(said(batch, depth=depth), batch, EVEN.model_copy(update={"photo": 0.3}))
    assert losses.parts["depth"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_face_weighs_as_much_as_the_settings_say():
    samples = Samples(**bump_arrays(4, SIZE, seed=3))
    samples.flags[:, 30:34, 30:34] |= MOUTH
    batch = Batch(samples)
    weight = pixel_weight(batch, LossSettings(photo=0.5, skin=3))
    factor = torch.where(batch.kind == 1, 0.5, 1.0)[:, None, None, None]
    face = batch.skin | batch.mouth
    assert torch.equal(weight[face], (3 * factor).expand_as(weight)[face])
    assert torch.equal(weight[~face], factor.expand_as(weight)[~face])


def test_an_open_mouth_weighs_in_depth_and_a_slit_does_not():
    samples = Samples(**bump_arrays(4, SIZE, seed=3))
    samples.flags[:, 30:34, 30:34] |= MOUTH
    samples.flags[:, 20, 20:40] |= MOUTH
    batch = Batch(samples)
    assert batch.mouth.sum() == 4 * 16
    # Inside mouths the error counts squared: 0.1 as 0.1 * 0.1 / MOUTH_ERROR.
    wrong = batch.depth + batch.mouth * 0.1
    losses = depth_losses(said(batch, depth=wrong), batch, EVEN.model_copy(update={"mouth": 10}))
    inside = (batch.mouth & batch.depth_known).sum().item()
    outside = batch.depth_known.sum().item() - inside
    assert losses.parts["depth"].item() == pytest.approx(
        0.1**2 / MOUTH_ERROR * 10 * inside / (10 * inside + outside), rel=1e-4
    )


def test_mouths_are_drawn_to_the_mean_of_what_they_may_be_and_skin_to_the_median():
    samples = Samples(**bump_arrays(4, SIZE, seed=3))
    samples.flags[:, 20:40, 20:40] |= MOUTH
    batch = Batch(samples)
    # One in four is a deep hollow, the others a tongue; one number is to stand for all.
    hollow = torch.tensor([0.6, 0.0, 0.0, 0.0])[:, None, None, None]
    truth = batch.depth
    for where, expected in ((batch.mouth, 0.15), (batch.skin & ~batch.mouth, 0.0)):
        batch.depth = truth + hollow * where
        guesses = torch.linspace(-0.2, 0.4, 61)
        costs = [
            depth_losses(said(batch, depth=truth + g * where), batch, EVEN).parts["depth"] for g in guesses
        ]
        best = guesses[int(torch.stack(costs).argmin())].item()
        assert best == pytest.approx(expected, abs=0.011)


def test_an_occluder_weighs_in_the_mask_as_the_border_does():
    samples = Samples(**bump_arrays(4, SIZE, seed=3))
    samples.flags[:, :4, :4] = MASK_KNOWN | DEPTH_KNOWN | OCCLUDER
    batch = Batch(samples)
    assert not (batch.depth_known & batch.occluder).any()
    wrong = torch.where(batch.occluder, 0.0, said(batch).mask)
    light, heavy = (
        depth_losses(said(batch, mask=wrong), batch, EVEN.model_copy(update={"border": b})).parts["mask"]
        for b in (1, 8)
    )
    assert heavy > 3 * light


def test_total_is_the_weighted_sum(batch):
    settings = LossSettings(**dict(zip(PARTS, (2, 3, 5, 7, 11, 13, 17, 19), strict=True)))
    maps = said(batch, depth=batch.depth * 0.5, mask=torch.zeros_like(batch.depth))
    batch.again = torch.tensor([3])
    losses = depth_losses(maps, batch, settings, twin=batch.depth[3:])
    assert all(losses.parts[name] != 0 for name in PARTS if name != "normal_map")
    expected = sum(getattr(settings, name) * losses.parts[name] for name in PARTS)
    torch.testing.assert_close(losses.total, expected)


def axes() -> tuple[Any, Any]:
    axis = (2 * torch.arange(SIZE, dtype=torch.float32) + 1) / SIZE - 1
    return axis[None, :], axis[:, None]


def ramp(slope_x: float, slope_y: float) -> Any:
    x, y = axes()
    return (slope_x * x + slope_y * y)[None, None]


def test_shape_is_what_offset_and_tilt_leave_as_numpy_finds_it():
    generator = np.random.default_rng(0)
    error, weight = generator.normal(0, 0.1, (2, SIZE, SIZE)), generator.uniform(0, 2, (2, SIZE, SIZE))
    x, y = (np.broadcast_to(axis.numpy(), (SIZE, SIZE)).ravel() for axis in axes())
    design = np.stack([np.ones_like(x), x, y], axis=1)
    expected = 0.0
    for one, w in zip(error.reshape(2, -1), weight.reshape(2, -1), strict=True):
        root = np.sqrt(w)
        fit = np.linalg.lstsq(design * root[:, None], one * root, rcond=None)[0]
        expected += (np.abs(one - design @ fit) * w).sum()
    nowhere = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    off, where = (torch.from_numpy(a).float()[:, None] for a in (error, weight))
    found = shape_loss(off, where, where, nowhere)
    assert found.item() == pytest.approx(expected / weight.sum(), rel=1e-4)


def test_a_nose_too_long_costs_shape_and_a_face_leaning_does_not():
    x, y = axes()
    nose = -0.3 * torch.exp(-20 * (x**2 + y**2))[None, None]
    weight = torch.ones_like(nose)
    nowhere = torch.zeros_like(nose, dtype=torch.bool)
    assert shape_loss(nose * 0.3, weight, weight, nowhere) > 0.005
    assert shape_loss(ramp(0.3, -0.2) + 0.1, weight, weight, nowhere) < 1e-5


def test_slope_is_per_crop_unit_at_every_scale():
    known = torch.ones(1, 1, SIZE, SIZE)
    loss = slope_loss(ramp(0.6, -0.2), ramp(0.0, 0.0), known)
    assert loss.item() == pytest.approx((0.6 + 0.2) / 2, abs=1e-4)


def test_surface_loss_of_a_tilted_plane_is_one_minus_the_cosine(batch):
    batch.depth_known[:] = batch.normal_known[:] = True
    batch.depth[:] = 0
    batch.normal[:] = torch.tensor([0.0, 0.0, -1.0])[:, None, None]
    flat = torch.ones_like(batch.depth)
    loss = surface_loss(ramp(1.0, 0.0).expand(4, -1, -1, -1), batch, flat)
    assert loss.item() == pytest.approx(1 - np.cos(np.pi / 4), abs=1e-5)
    batch.normal[:] = torch.tensor([-1.0, 0.0, -1.0])[:, None, None] / math.sqrt(2)
    opposite = surface_loss(ramp(1.0, 0.0).expand(4, -1, -1, -1), batch, flat)
    assert opposite.item() == pytest.approx(1, abs=1e-5)


def test_spread_is_least_where_b_is_root_two_times_the_error():
    error = torch.full((1, 1, 4, 4), 0.07)
    weight = torch.ones_like(error)
    best = math.log(math.sqrt(2) * 0.07)
    values = [spread_loss(torch.full_like(error, best + off), error, weight).item() for off in (-0.1, 0, 0.1)]
    assert values[1] < min(values[0], values[2])
    assert values[1] == pytest.approx(1 + math.log(2 * 0.07), abs=1e-5)


def test_being_unsure_does_not_change_the_gradient_of_depth(batch):
    gradients = []
    for spread in (-4.0, 0.0):
        depth = (batch.depth * 0.8).requires_grad_(True)
        maps = said(batch, depth=depth, spread=torch.full_like(batch.depth, spread))
        depth_losses(maps, batch, LossSettings(spread=1.0)).total.backward()
        gradients.append(depth.grad)
    assert torch.equal(*gradients)


def test_consistency_compares_the_photos_with_their_twins_where_there_is_one(batch):
    batch.again = torch.tensor([3])
    twin = batch.depth[3:] + 0.2
    twin[..., : SIZE // 2] = torch.nan
    depth = batch.depth.clone().requires_grad_(True)
    losses = depth_losses(said(batch, depth=depth), batch, LossSettings(), twin)
    assert losses.parts["consistency"].item() == pytest.approx(0.2, abs=1e-5)
    losses.parts["consistency"].backward()
    assert depth.grad[:3].abs().max() == 0
    assert depth.grad[3, :, :, : SIZE // 2].abs().max() == 0
    assert (depth.grad[3, :, :, SIZE // 2 :] < 0).all()


def test_nothing_is_asked_across_an_edge():
    truth = torch.zeros(1, 1, SIZE, SIZE)
    truth[..., SIZE // 2 :] = 0.9
    assert slope_loss(-truth, truth, torch.ones_like(truth)) == 0


def test_unknown_pixels_neither_count_nor_get_a_gradient(batch):
    batch.depth_known[:, :, :, : SIZE // 2] = False
    batch.normal_known[:, :, :, : SIZE // 2] = False
    depth, normal = batch.depth.clone(), batch.normal.clone()
    depth[:, :, :, : SIZE // 2] = 7.0
    depth.requires_grad_(True)
    normal.requires_grad_(True)
    losses = depth_losses(said(batch, depth=depth, normal=normal), batch, LossSettings(mask=0))
    losses.total.backward()
    assert losses.parts["depth"] == 0
    assert depth.grad[:, :, :, : SIZE // 2].abs().max() == 0
    assert normal.grad[:, :, :, : SIZE // 2].abs().max() == 0
    assert normal.grad.abs().max() > 0


def test_a_batch_without_labels_has_no_loss_and_no_nan(batch):
    for known in (batch.depth_known, batch.mask_known, batch.normal_known):
        known[:] = False
    depth = torch.zeros_like(batch.depth).requires_grad_(True)
    losses = depth_losses(said(batch, depth=depth), batch, LossSettings())
    losses.total.backward()
    assert losses.total.item() == 0
    assert depth.grad.abs().max() == 0
