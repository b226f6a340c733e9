"""Layers that compute as integers will: what they round, what gradients they give, how they begin."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from stream.networks.rounding import WEIGHT_LIMIT, Convolution, Rounding, calibrate, exact  # noqa: E402


def noise(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("signed", [True, False])
def test_values_lie_on_256_steps_and_0_is_one_of_them(signed):
    rounding = Rounding(signed)
    values = noise(4, 3, 8, 8) if signed else noise(4, 3, 8, 8).relu()
    rounded = rounding(values)
    units = rounded / rounding.log_step.exp()
    torch.testing.assert_close(units, units.round(), atol=1e-4, rtol=0)
    assert units.min() >= (-128 if signed else 0)
    assert units.max() <= (127 if signed else 255)
    assert (rounded - values).abs().mean() < 0.02
    assert rounding(torch.zeros(2, 2)).abs().max() == 0


def test_gradients_pass_where_nothing_is_clipped_and_the_step_learns_to_hold_what_is():
    rounding = Rounding(signed=False, step=None)
    rounding.log_step.data.fill_(torch.tensor(0.01).log())
    rounding.begun.fill_(True)
    values = torch.tensor([-1.0, 0.5, 2.0, 10.0], requires_grad=True)
    rounding(values).sum().backward()
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    # Of 10 no more than 2.55 is left; twice the step lets twice as much through.
    assert rounding.log_step.grad.item() == pytest.approx(2.55, abs=0.02)


def test_the_picture_keeps_all_its_values_but_the_two_brightest():
    pictures = torch.arange(256) / 127.5 - 1
    assert len(Rounding(signed=True, step=1 / 128)(pictures).unique()) == 255


def test_weights_are_integers_that_16_bits_can_add_in_pairs():
    layer = Convolution(6, 8, 3)
    units = layer.rounded_weight() / layer.log_scale.exp()[:, None, None, None] * WEIGHT_LIMIT
    torch.testing.assert_close(units, units.round(), atol=1e-3, rtol=0)
    assert units.abs().max() <= WEIGHT_LIMIT
    assert 2 * 255 * WEIGHT_LIMIT < 1 << 15


def test_a_filter_of_edges_answers_nothing_to_a_plain_surface():
    weight = noise(16, 3, 3, 3)
    weight -= weight.mean(dim=(1, 2, 3), keepdim=True)
    layer = Convolution(3, 16, 3, activation="none", rounded=False)
    layer.fill(weight, torch.zeros(16))
    answer = layer(torch.ones(1, 3, 8, 8))[..., 1:-1, 1:-1].abs().amax(dim=(0, 2, 3))
    # Of each channel's largest weight at most half an integer step is left.
    assert (answer / weight.abs().flatten(1).amax(dim=1)).max() < 0.51 / WEIGHT_LIMIT


def test_a_strided_layer_pads_as_tensorflow_does():
    layer = Convolution(1, 1, 3, stride=2, activation="none", rounded=False)
    layer.fill(torch.tensor([[[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]]), torch.zeros(1))
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert layer(picture).flatten().tolist() == pytest.approx([0, 2, 8, 10])


def test_calibration_brings_every_mean_back():
    network = torch.nn.Sequential(
        *(Convolution(8, 8, 3, activation="relu" if index < 3 else "none") for index in range(4))
    )
    images = noise(16, 8, 12, 12)
    with exact(network), torch.no_grad():
        wanted = network(images)
    calibrate(network, lambda: network(images))
    with torch.no_grad():
        found = network(images)
    assert all(layer.rounding.begun for layer in network)
    shift = (found.mean(dim=(0, 2, 3)) - wanted.mean(dim=(0, 2, 3))).abs()
    assert (shift / wanted.std(dim=(0, 2, 3))).max() < 0.01
    assert (found - wanted).abs().mean() < 0.05 * wanted.std()
