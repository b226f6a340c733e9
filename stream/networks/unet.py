"""The Attention U-Net that turns a face crop into depth (torch; training and the torch backend only).

The original Attention U-Net (Oktay et al. 2018) with the modifications of seed 000, section 3.1.3: 2D
input with three channels, five encoder and four decoder blocks, resize convolutions with bilinear
interpolation instead of transposed ones, and batch normalisation at the end of every block. Its head is
the one all depth networks share (`stream.networks.network`).
"""

from __future__ import annotations

from typing import ClassVar

from stream.errors import MissingExtraError
from stream.networks.network import DepthHead, DepthNetwork, check_image

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

LEVELS = 5
"""Encoder blocks; the sides of what they see must be divisible by 2 ** (LEVELS - 1)."""

TAIL_CHANNELS, DETAIL_CHANNELS = 16, 8


class DoubleConvolution(nn.Module):
    """Two 3x3 convolutions, each with ReLU, then batch normalisation: (N, I, H, W) -> (N, O, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(functional.relu(self.second(functional.relu(self.first(features)))))


class AttentionGate(nn.Module):
    """Additive attention over a skip connection (Oktay et al. 2018, section 2.2).

    The skip (N, C, H, W) is brought to the gate's resolution by averaging, both are projected by 1x1
    convolutions and added; ReLU, a 1x1 convolution and a sigmoid give one coefficient per coarse pixel,
    which is upsampled bilinearly and multiplied into the skip.
    """

    def __init__(self, gate: int, skip: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(gate, skip, 1)
        self.skip = nn.Conv2d(skip, skip, 1, bias=False)
        self.weigh = nn.Conv2d(skip, 1, 1)

    def forward(self, gate: Tensor, skip: Tensor) -> Tensor:
        joined = functional.relu(self.gate(gate) + self.skip(functional.avg_pool2d(skip, 2)))
        return skip * enlarge(torch.sigmoid(self.weigh(joined)))


class DecoderBlock(nn.Module):
    """Resize convolution, concatenation with the gated skip, two convolutions.

    (N, 2C, H, W) features and (N, C, 2H, 2W) skip -> (N, C, 2H, 2W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = AttentionGate(2 * channels, channels)
        self.resize = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.convolutions = DoubleConvolution(2 * channels, channels)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        gated = self.attention(features, skip)
        return self.convolutions(torch.cat([gated, self.resize(enlarge(features))], dim=1))


class FullResolutionTail(nn.Module):
    """From half resolution to full resolution, cheaply.

    Features (N, C, H, W) and the picture (N, 3, 2H, 2W) -> (N, `TAIL_CHANNELS`, 2H, 2W): a resize
    convolution, concatenation with a few channels seen in the picture itself, one convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The convolution comes before the enlargement: the same weights at a quarter of the cost.
        self.resize = nn.Conv2d(channels, TAIL_CHANNELS, 3, padding=1)
        self.detail = nn.Conv2d(3, DETAIL_CHANNELS, 3, padding=1)
        self.join = nn.Conv2d(TAIL_CHANNELS + DETAIL_CHANNELS, TAIL_CHANNELS, 3, padding=1)

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        detail = functional.relu(self.detail(image))
        return functional.relu(self.join(torch.cat([enlarge(self.resize(features)), detail], dim=1)))


class AttentionUNet(DepthNetwork):
    """The Attention U-Net.

    :param width: channels of the first block; they double with every block (16: 2.2 M parameters).
    :param stem: 1 for the network of seed 000. 2 for the live one: the picture's 2x2 blocks become
        channels, the same network works at half resolution, and a light tail brings its result back to
        full resolution, in about a quarter of the time.
    :raises InputError: an option is not among its choices.
    """

    architecture = "attention_unet"
    choices: ClassVar = {"width": range(1, 257), "stem": (1, 2)}

    def __init__(self, width: int = 16, stem: int = 1) -> None:
        super().__init__(width=width, stem=stem)
        self.stem = stem
        self.stride = stem * 2 ** (LEVELS - 1)
        channels = [width << level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(inputs, outputs)
            for inputs, outputs in zip([3 * stem**2, *channels[:-1]], channels, strict=True)
        )
        self.decoder = nn.ModuleList(DecoderBlock(count) for count in reversed(channels[:-1]))
        self.tail = None if stem == 1 else FullResolutionTail(width)
        self.head = DepthHead(width if stem == 1 else TAIL_CHANNELS)

    def features(self, image: Tensor) -> Tensor:
        check_image(image, self.stride)
        skips: list[Tensor] = []
        features = image if self.stem == 1 else functional.pixel_unshuffle(image, self.stem)
        for level, block in enumerate(self.encoder):
            features = block(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        features = skips.pop()
        for block in self.decoder:
            features = block(features, skips.pop())
        return features if self.tail is None else self.tail(features, image)


def enlarge(features: Tensor) -> Tensor:
    """Twice the height and width by bilinear interpolation (pixel centres, no aligned corners)."""
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
