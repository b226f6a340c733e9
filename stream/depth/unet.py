"""The Attention U-Net that turns a face crop into depth (torch; training and the torch backend only).

The original Attention U-Net (Oktay et al. 2018) with the modifications of seed 000, section 3.1.3: 2D
input with three channels, five encoder and four decoder blocks, resize convolutions with bilinear
interpolation instead of transposed ones, and batch normalisation at the end of every block. One channel
is added to the head: the logit of the foreground mask.
"""

from __future__ import annotations

from stream.errors import InputError, MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

LEVELS = 5
"""Encoder blocks; the input's sides must be divisible by 2 ** (LEVELS - 1)."""

STRIDE = 2 ** (LEVELS - 1)


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


class AttentionUNet(nn.Module):
    """Face crop to depth and foreground mask.

    :param width: channels of the first block; they double with every block (16: 2.2 M parameters).
    :raises InputError: the width is not positive.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"A network cannot have {width} channels; give a width of at least 1.")
        self.width = width
        channels = [width << level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(
            DoubleConvolution(inputs, outputs)
            for inputs, outputs in zip([3, *channels[:-1]], channels, strict=True)
        )
        self.decoder = nn.ModuleList(DecoderBlock(count) for count in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Depth and mask logit of (N, 3, H, W) float images in [-1, 1]; H and W divisible by `STRIDE`.

        :returns: depth (N, 1, H, W) in crop units, and the logit (N, 1, H, W) of the foreground.
        :raises InputError: the shape does not fit.
        """
        depth, mask = self.head(self.features(image)).split(1, dim=1)
        return depth, mask

    def features(self, image: Tensor) -> Tensor:
        """What the head sees: (N, width, H, W); apart, so that training can run the head in float32."""
        check_shape(tuple(image.shape))
        skips: list[Tensor] = []
        features = image
        for level, block in enumerate(self.encoder):
            features = block(functional.max_pool2d(features, 2) if level else features)
            skips.append(features)
        features = skips.pop()
        for block in self.decoder:
            features = block(features, skips.pop())
        return features


def enlarge(features: Tensor) -> Tensor:
    """Twice the height and width by bilinear interpolation (pixel centres, no aligned corners)."""
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def check_shape(shape: tuple[int, ...]) -> None:
    """:raises InputError: ``shape`` is not (N, 3, H, W) with H and W positive multiples of `STRIDE`."""
    fits = len(shape) == 4 and shape[1] == 3 and min(shape) > 0
    if not fits or shape[2] % STRIDE or shape[3] % STRIDE:
        raise InputError(
            f"The depth network takes (N, 3, H, W) with H and W divisible by {STRIDE}, not {shape}."
        )
