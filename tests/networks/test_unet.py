"""The network's shape is the one described in seed 000, section 3.1.3."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from stream.networks.unet import AttentionGate, AttentionUNet, FullResolutionTail  # noqa: E402


def double(i: int, o: int) -> int:
    """Parameters of two convolutions and a batch normalisation."""
    return 9 * i * o + o + 9 * o * o + o + 2 * o


def parameters(width: int, inputs: int) -> int:
    """Parameters of encoder and decoder, from the layers' sizes."""
    c = [width << level for level in range(5)]
    encoder = sum(double(i, o) for i, o in zip([inputs, *c], c, strict=False))
    decoder = sum(
        9 * 2 * n * n + n + double(2 * n, n) + (2 * n * n + n) + n * n + (n + 1) for n in reversed(c[:-1])
    )
    return encoder + decoder


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def network() -> AttentionUNet:
    torch.manual_seed(0)
    return AttentionUNet(4).eval()


def test_blocks_are_five_encoders_and_four_decoders_without_transposed_convolution(network):
    assert len(network.encoder) == 5
    assert len(network.decoder) == 4
    assert [block.first.out_channels for block in network.encoder] == [4, 8, 16, 32, 64]
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in network.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 9
    assert network.stride == 16
    assert network.tail is None


def test_parameters_follow_from_the_layers():
    assert count(AttentionUNet(16)) == parameters(16, 3) + 5 * 16 + 5
    tail = (9 * 16 * 16 + 16) + (9 * 3 * 8 + 8) + (9 * 24 * 16 + 16)
    assert count(AttentionUNet(16, stem=2)) == parameters(16, 12) + tail + 5 * 16 + 5


def test_the_live_network_works_at_half_resolution():
    network = AttentionUNet(4, stem=2).eval()
    seen = []
    for block in network.encoder:
        block.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[1:])))
    network(torch.zeros(1, 3, 64, 96))
    assert network.stride == 32
    assert seen == [(12, 32, 48), (4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]


def test_the_tail_sees_single_pixels_of_the_picture():
    """What half resolution loses comes back from the picture itself, and only from near by."""
    torch.manual_seed(0)
    tail = FullResolutionTail(4)
    image = torch.randn(1, 3, 32, 32, requires_grad=True)
    tail(torch.randn(1, 4, 16, 16), image)[0, :, 10, 10].sum().backward()
    seen = image.grad[0].abs().sum(dim=0).nonzero()
    assert len(seen) > 1
    assert seen.min() >= 8
    assert seen.max() <= 12


def test_closed_gate_removes_the_skip_and_open_gate_passes_it():
    gate = AttentionGate(8, 4)
    nn.init.zeros_(gate.weigh.weight)
    skip, coarse = torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8)
    gate.weigh.bias.data.fill_(-40.0)
    assert gate(coarse, skip).abs().max() < 1e-12
    gate.weigh.bias.data.fill_(40.0)
    torch.testing.assert_close(gate(coarse, skip), skip)


def test_a_gate_weighs_all_channels_of_a_pixel_alike_between_nothing_and_all():
    torch.manual_seed(0)
    gate = AttentionGate(8, 4)
    skip = torch.rand(2, 4, 16, 16) + 0.5
    ratio = gate(torch.randn(2, 8, 8, 8), skip) / skip
    assert 0 < ratio.min() < ratio.max() < 1
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_prediction_of_a_pixel_depends_on_the_whole_picture_but_not_on_its_neighbour_in_the_batch(network):
    torch.manual_seed(1)
    images = torch.randn(2, 3, 32, 32)
    alone = network(images[:1]).depth
    torch.testing.assert_close(network(images).depth[:1], alone, atol=1e-5, rtol=1e-5)
    images.requires_grad_(True)
    network(images).depth[0, 0, 0, 0].backward()
    assert images.grad[0, :, -1, -1].abs().max() > 0
    assert images.grad[1].abs().max() == 0
