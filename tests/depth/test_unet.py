"""The network's shape is the one described in seed 000, section 3.1.3."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from stream.depth.unet import AttentionGate, AttentionUNet  # noqa: E402
from stream.errors import InputError  # noqa: E402


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


def test_parameters_at_width_16_follow_from_the_layers():
    def double(i, o):
        return 9 * i * o + o + 9 * o * o + o + 2 * o

    encoder = sum(double(i, o) for i, o in [(3, 16), (16, 32), (32, 64), (64, 128), (128, 256)])
    decoder = sum(
        9 * 2 * c * c + c + double(2 * c, c) + (2 * c * c + c) + c * c + (c + 1) for c in (128, 64, 32, 16)
    )
    count = sum(parameter.numel() for parameter in AttentionUNet(16).parameters())
    assert count == encoder + decoder + 2 * 16 + 2


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (80, 64)])
def test_any_size_divisible_by_16_keeps_its_size(network, height, width):
    depth, mask = network(torch.zeros(2, 3, height, width))
    assert depth.shape == mask.shape == (2, 1, height, width)


@pytest.mark.parametrize(
    "shape", [(1, 3, 40, 32), (1, 1, 32, 32), (3, 32, 32), (0, 3, 32, 32), (1, 3, 0, 16)]
)
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(InputError, match="divisible by 16"):
        network(torch.zeros(shape))


def test_width_must_be_positive():
    with pytest.raises(InputError, match="at least 1"):
        AttentionUNet(0)


def test_closed_gate_removes_the_skip_and_open_gate_passes_it():
    gate = AttentionGate(8, 4)
    nn.init.zeros_(gate.weigh.weight)
    skip, coarse = torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8)
    gate.weigh.bias.data.fill_(-40.0)
    assert gate(coarse, skip).abs().max() < 1e-12
    gate.weigh.bias.data.fill_(40.0)
    torch.testing.assert_close(gate(coarse, skip), skip)


def test_prediction_of_a_pixel_depends_on_the_whole_picture_but_not_on_its_neighbour_in_the_batch(network):
    torch.manual_seed(1)
    images = torch.randn(2, 3, 32, 32)
    alone = network(images[:1])[0]
    torch.testing.assert_close(network(images)[0][:1], alone, atol=1e-5, rtol=1e-5)
    images.requires_grad_(True)
    network(images)[0][0, 0, 0, 0].backward()
    assert images.grad[0, :, -1, -1].abs().max() > 0
    assert images.grad[1].abs().max() == 0
