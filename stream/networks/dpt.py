"""DPT, the dense prediction transformer: a vision transformer below, a convolutional decoder above (torch).

Ranftl, Bochkovskiy and Koltun 2021, "Vision Transformers for Dense Prediction", section 3; seed 000,
section 3.1.4. Tokens are tapped after four layers of the transformer, the readout token is projected into
each of them (section 3.1, "Read_proj"), and they are put together to feature maps at strides 4, 8, 16 and
32 (eq. 2 to 4), which RefineNet-like blocks fuse from coarse to fine (section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from stream.errors import InputError, MissingExtraError
from stream.networks.network import DepthHead, DepthNetwork, check_image

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

PATCH = 16
"""Side of the square of pixels that becomes one token."""

HEAD_CHANNELS = 32
DEVIATION = 0.02
"""Of the random values that tokens, positions and linear layers start with (as ViT's)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a DPT.

    :ivar dim: values of a token, a multiple of ``heads``.
    :ivar taps: layers, counted from 1, whose tokens are decoded; the last one is the depth.
    :ivar grid: side, in patches, of the picture that the position embeddings are made for.
    :ivar maps: channels of the feature maps at strides 4, 8, 16 and 32.
    :ivar fusion: channels of the decoder; even.
    :ivar monocular: has the output layer for inverse depth, so that published weights mean something.
    """

    dim: int
    heads: int
    taps: tuple[int, int, int, int]
    grid: int
    maps: tuple[int, int, int, int]
    fusion: int
    monocular: bool


SHAPES: Mapping[str, Shape] = {
    "large": Shape(1024, 16, (5, 12, 18, 24), 24, (256, 512, 1024, 1024), 256, monocular=True),
    "small": Shape(160, 5, (2, 4, 6, 8), 12, (40, 80, 160, 160), 64, monocular=False),
}
"""``large``: ViT-L/16 as published, 384 px (342 M parameters). ``small``: trained here, 192 px."""


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2): (N, T, D) -> (N, T, D)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        count, length, dim = tokens.shape
        split = self.qkv(tokens).reshape(count, length, 3, self.heads, dim // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        result = functional.scaled_dot_product_attention(query, key, value)
        return self.project(result.transpose(1, 2).reshape(count, length, dim))


class TransformerLayer(nn.Module):
    """Pre-norm layer of the vision transformer (Dosovitskiy et al. 2021, eq. 2 and 3)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.second_norm = nn.LayerNorm(dim, eps=1e-6)
        self.widen = nn.Linear(dim, 4 * dim)
        self.narrow = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.first_norm(tokens))
        return tokens + self.narrow(functional.gelu(self.widen(self.second_norm(tokens))))


class VisionTransformer(nn.Module):
    """Pictures (N, 3, H, W) to the tokens (N, 1 + H W / 256, D) after each tapped layer, readout first.

    Position embeddings are interpolated bilinearly to the picture's grid.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.grid, self.taps = shape.grid, shape.taps
        self.patch = nn.Conv2d(3, shape.dim, PATCH, stride=PATCH)
        self.readout = nn.Parameter(torch.empty(1, 1, shape.dim))
        self.position = nn.Parameter(torch.empty(1, 1 + shape.grid**2, shape.dim))
        self.layers = nn.ModuleList(TransformerLayer(shape.dim, shape.heads) for _ in range(shape.taps[-1]))
        for values in (self.readout, self.position):
            nn.init.trunc_normal_(values, std=DEVIATION)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=DEVIATION)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> list[Tensor]:
        patches = self.patch(image)
        rows, columns = patches.shape[-2:]
        readout = self.readout.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([readout, patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + self._positions(rows, columns)
        tapped = []
        for number, layer in enumerate(self.layers, start=1):
            tokens = layer(tokens)
            if number in self.taps:
                tapped.append(tokens)
        return tapped

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self.grid, self.grid):
            return self.position
        square = self.position[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        resized = functional.interpolate(square, (rows, columns), mode="bilinear", align_corners=False)
        return torch.cat([self.position[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


class Reassemble(nn.Module):
    """Tokens (N, 1 + R C, D) of R rows and C columns to a map (N, fusion, f R, f C), f = 4, 2, 1 or 1/2.

    The readout token is joined to every other and projected with GELU; a 1x1 convolution, a transposed or
    strided one, and a 3x3 convolution to the decoder's channels follow.
    """

    def __init__(self, level: int, shape: Shape) -> None:
        super().__init__()
        channels = shape.maps[level]
        self.read = nn.Linear(2 * shape.dim, shape.dim)
        self.project = nn.Conv2d(shape.dim, channels, 1)
        self.resize: nn.Module = (
            nn.ConvTranspose2d(channels, channels, 4, stride=4),
            nn.ConvTranspose2d(channels, channels, 2, stride=2),
            nn.Identity(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        )[level]
        self.join = nn.Conv2d(channels, shape.fusion, 3, padding=1, bias=False)

    def forward(self, tokens: Tensor, rows: int, columns: int) -> Tensor:
        readout, others = tokens[:, :1], tokens[:, 1:]
        read = functional.gelu(self.read(torch.cat([others, readout.expand_as(others)], dim=-1)))
        square = read.transpose(1, 2).reshape(tokens.shape[0], -1, rows, columns)
        result: Tensor = self.join(self.resize(self.project(square)))
        return result


class ResidualUnit(nn.Module):
    """RefineNet's residual convolution unit (Lin et al. 2017, section 3.2.1), activation first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(functional.relu(self.first(functional.relu(features))))


class FusionBlock(nn.Module):
    """Join the coarser features with a map of the same size, refine, double the size.

    (N, F, H, W), twice -> (N, F, 2H, 2W). The coarsest block has nothing to join.
    """

    def __init__(self, channels: int, coarsest: bool) -> None:
        super().__init__()
        self.adapt = None if coarsest else ResidualUnit(channels)
        self.refine = ResidualUnit(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, level: Tensor, coarser: Tensor | None) -> Tensor:
        if self.adapt is not None and coarser is not None:
            level = coarser + self.adapt(level)
        return self.project(_double(self.refine(level)))


class DenseTransformer(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] to features (N, `HEAD_CHANNELS`, H, W); sides multiples of 32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.transformer = VisionTransformer(shape)
        self.reassemble = nn.ModuleList(Reassemble(level, shape) for level in range(len(shape.maps)))
        self.fusion = nn.ModuleList(
            FusionBlock(shape.fusion, coarsest=level == len(shape.maps) - 1)
            for level in range(len(shape.maps))
        )
        self.narrow = nn.Conv2d(shape.fusion, shape.fusion // 2, 3, padding=1)
        self.finish = nn.Conv2d(shape.fusion // 2, HEAD_CHANNELS, 3, padding=1)
        self.monocular = nn.Conv2d(HEAD_CHANNELS, 1, 1) if shape.monocular else None

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[2] // PATCH, image.shape[3] // PATCH
        tapped = self.transformer(image)
        fused: Tensor | None = None
        for level in reversed(range(len(tapped))):
            fused = self.fusion[level](self.reassemble[level](tapped[level], rows, columns), fused)
        return functional.relu(self.finish(_double(self.narrow(fused))))

    def inverse_depth(self, image: Tensor) -> Tensor:
        """Inverse depth up to scale and shift, (N, 1, H, W), 0 or more: the published networks' output.

        :raises InputError: this network has no layer for it.
        """
        if self.monocular is None:
            raise InputError("This DPT has no output for inverse depth; the variant 'large' has one.")
        return functional.relu(self.monocular(self(image)))


class DPT(DepthNetwork):
    """DPT with the head of the depth networks in place of the last layer.

    At 32 px, where its coarsest map is a single pixel, OpenVINO 2026.4 disagrees with the other backends;
    from 64 px on it does not.

    :param variant: a name in `SHAPES`.
    :raises InputError: there is no such variant.
    """

    architecture = "dpt"
    choices: ClassVar = {"variant": tuple(SHAPES)}

    def __init__(self, variant: str = "small") -> None:
        super().__init__(variant=variant)
        self.stride = 2 * PATCH
        self.body = DenseTransformer(SHAPES[variant])
        self.head = DepthHead(HEAD_CHANNELS)

    def features(self, image: Tensor) -> Tensor:
        check_image(image, self.stride)
        result: Tensor = self.body(image)
        return result

    def inverse_depth(self, image: Tensor) -> Tensor:
        """See `DenseTransformer.inverse_depth`; ``image`` as for `features`."""
        check_image(image, self.stride)
        return self.body.inverse_depth(image)


def _double(features: Tensor) -> Tensor:
    """Twice the height and width, bilinear with aligned corners, as the published networks do it."""
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=True)
