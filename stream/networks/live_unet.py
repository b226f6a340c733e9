"""The network of live capture: the mobile U-Net's encoder and decoder in integers, maps at half size.

It is not trained from nothing: `folded` makes it of a trained `stream.networks.mobile_unet.MobileUNet`, whose
batch normalisation goes into the convolutions beside it, and training goes on with what the rounding costs
(`stream.networks.rounding`). The last two layers stay in float: rounding what they read goes straight into
the slopes of the depth. A live mesh shows no more than such maps hold, and the layers at full resolution,
which the larger network keeps in float, are more than half of its time.
"""

from __future__ import annotations

from typing import ClassVar

from stream.errors import MissingExtraError, ModelError
from stream.networks.mobile_unet import DECODER, STAGES, STEM, TAPS, MobileUNet
from stream.networks.network import DepthHead, DepthNetwork, check_image
from stream.networks.rounding import Convolution, Rounding
from stream.networks.unet import TAIL_CHANNELS, enlarge

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

PICTURE_STEP = 1 / 128
"""The picture's step: -1..1 is almost all of -128..127, so that its values stay apart, the two
brightest excepted."""


class LiveResidual(nn.Module):
    """`stream.networks.mobile_unet.InvertedResidual` in integers: (N, I, H, W) -> (N, O, H/s, W/s)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inputs * expansion
        widen = [Convolution(inputs, wide, 1, activation="relu6")] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen,
            Convolution(wide, wide, kernel, stride, groups=wide, activation="relu6"),
            Convolution(wide, outputs, 1, activation="none"),
        )
        self.rounding = Rounding(signed=True) if stride == 1 and inputs == outputs else None

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.layers(features)
        return result if self.rounding is None else self.rounding(features + result)


class LiveEncoder(nn.Module):
    """`stream.networks.mobile_unet.LiteEncoder` in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.rounding = Rounding(signed=True, step=PICTURE_STEP)
        self.stem = Convolution(3, STEM, 3, 2, activation="relu6")
        stages, inputs = [], STEM
        for expansion, channels, count, stride, kernel in STAGES:
            blocks = [LiveResidual(inputs, channels, expansion, stride, kernel)]
            blocks += [LiveResidual(channels, channels, expansion, 1, kernel) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1] to features at strides 2, 4, 8, 16 and 32."""
        features = self.stem(self.rounding(image))
        results = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in TAPS:
                results.append(features)
        return [*results, features]


class LiveGate(nn.Module):
    """`stream.networks.unet.AttentionGate` in integers."""

    def __init__(self, gate: int, skip: int) -> None:
        super().__init__()
        self.gate = Convolution(gate, skip, 1, activation="none", rounded=False)
        self.skip = Convolution(skip, skip, 1, activation="none", rounded=False)
        self.pooled, self.rounding = Rounding(signed=True), Rounding(signed=False)
        self.weigh = Convolution(skip, 1, 1, activation="none", rounded=False)

    def forward(self, gate: Tensor, skip: Tensor) -> Tensor:
        pooled = self.pooled(functional.avg_pool2d(skip, 2))
        joined = self.rounding(functional.relu(self.gate(gate) + self.skip(pooled)))
        return skip * enlarge(torch.sigmoid(self.weigh(joined)))


class LiveBlock(nn.Module):
    """`stream.networks.mobile_unet.GatedBlock` in integers, without normalisation.

    Features (N, C, H, W) and skip (N, K, 2H, 2W) -> (N, O, 2H, 2W).
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.attention = LiveGate(inputs, skip)
        self.resize = Convolution(inputs, outputs, 3, activation="none")
        self.rounding = Rounding(signed=True)
        self.first = Convolution(outputs + skip, outputs, 3)
        self.second = Convolution(outputs, outputs, 3)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        gated = self.attention(features, skip)
        joined = self.rounding(torch.cat([gated, enlarge(self.resize(features))], dim=1))
        result: Tensor = self.second(self.first(joined))
        return result


class LiveHead(DepthHead):
    """The head that all networks share, its weights learnt as all others are here."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.maps = Convolution(channels, 5, 1, activation="none", rounded=False, exact=True)

    def affine(self) -> tuple[Tensor, Tensor]:
        """As the convolution computes with them."""
        return self.maps.exact_weight(), self.maps.scaled_bias()


class LiveUNet(DepthNetwork):
    """The network described above; maps have half the picture's side.

    :ivar narrow, join, head: the teacher's tail and head at half its resolution.
    """

    architecture = "live_unet"
    choices: ClassVar = {}
    channels_last = True
    maps_stride = 2
    rounds = True

    def __init__(self) -> None:
        super().__init__()
        self.stride = 32
        self.encoder = LiveEncoder()
        skips = [STAGES[index][1] for index in reversed(TAPS)]
        inputs = [STAGES[-1][1], *DECODER]
        self.decoder = nn.ModuleList(
            LiveBlock(below, skip, outputs)
            for below, skip, outputs in zip(inputs, skips, DECODER, strict=False)
        )
        self.narrow = Convolution(DECODER[-1], TAIL_CHANNELS, 3, activation="none", rounded=False)
        self.join = Convolution(TAIL_CHANNELS, TAIL_CHANNELS, 3, rounded=False, exact=True)
        self.head = LiveHead(TAIL_CHANNELS)

    def backbone(self, image: Tensor) -> Tensor:
        """All that has the teacher's weights: (N, 16, H/2, W/2) of pictures (N, 3, H, W)."""
        check_image(image, self.stride)
        return self.decoded(self.encoder(image))

    def decoded(self, skips: list[Tensor]) -> Tensor:
        """What the decoder makes of the encoder's features."""
        features = skips.pop()
        for block in self.decoder:
            features = block(features, skips.pop())
        result: Tensor = self.narrow(features)
        return result

    def features(self, image: Tensor) -> Tensor:
        result: Tensor = self.join(self.backbone(image))
        return result


@torch.no_grad()
def folded(teacher: MobileUNet) -> LiveUNet:
    """A live network with a trained one's weights; its last two layers wait for `fit_tail`.

    It computes the same features up to the rounding, and up to what the shift of a batch normalisation
    before a convolution does at the picture's border.

    :raises ModelError: the teacher has other layers.
    """
    network = LiveUNet()
    taught = [*_encoder_layers(teacher), *_decoder_layers(teacher)]
    places = [module for module in network.encoder.modules() if isinstance(module, Convolution)]
    for block in network.decoder:
        gate = block.attention
        places += [gate.gate, gate.skip, gate.weigh, block.resize, block.first, block.second]
    places.append(network.narrow)
    if [place.weight.shape for place in places] != [weight.shape for weight, _ in taught]:
        raise ModelError("The teacher's layers are not those of the live network; give a mobile_unet.")
    for place, (weight, bias) in zip(places, taught, strict=True):
        place.fill(weight, bias)
    return network


@torch.no_grad()
def fit_tail(network: LiveUNet, teacher: MobileUNet, images: Tensor) -> None:
    """Let the last two layers begin as the least squares' answer to what the teacher says.

    The teacher joins its features with details of the picture at twice the resolution. What it makes of
    both, averaged over the pixels that become one, is fitted by a convolution of the features; what its
    head gives, averaged, by the head.

    :param images: (N, 3, H, W) float32, pictures as in training.
    """
    joined: list[Tensor] = []
    hook = teacher.tail.join.register_forward_hook(
        lambda module, inputs, output: joined.append(functional.avg_pool2d(output, 2))
    )
    maps = [functional.avg_pool2d(teacher.head.maps(teacher.features(image[None])), 2) for image in images]
    hook.remove()
    features = [network.backbone(image[None]) for image in images]
    channels = TAIL_CHANNELS
    patches = torch.cat([functional.unfold(one, 3, padding=1)[0] for one in features], dim=1)
    network.join.fill(*_least_squares(patches, torch.cat(joined), (channels, channels, 3, 3)))
    inputs = torch.cat([network.join(one).flatten(2)[0] for one in features], dim=1)
    network.head.maps.fill(*_least_squares(inputs, torch.cat(maps), (5, channels, 1, 1)))


def _least_squares(inputs: Tensor, wanted: Tensor, shape: tuple[int, ...]) -> Layer:
    """Weight and bias that bring inputs (K, P) nearest to maps (N, O, h, w) of the same P pixels."""
    ones = inputs.new_ones(1, inputs.shape[1])
    design = torch.cat([inputs, ones]).double()
    target = wanted.permute(1, 0, 2, 3).flatten(1).double()
    moments = design @ design.T
    moments += 1e-4 * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    solution = torch.linalg.solve(moments, design @ target.T).T.float()
    return solution[:, :-1].reshape(shape), solution[:, -1].contiguous()


Layer = tuple[Tensor, Tensor]
"""Weight (O, I, h, w) and bias (O,) of a convolution."""


def _encoder_layers(teacher: MobileUNet) -> list[Layer]:
    """Every convolution with the batch normalisation after it."""
    modules = [m for m in teacher.encoder.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    layers = []
    for conv, norm in zip(modules[::2], modules[1::2], strict=True):
        scale, shift = _affine(norm)
        layers.append((conv.weight * scale[:, None, None, None], shift))
    return layers


def _decoder_layers(teacher: MobileUNet) -> list[Layer]:
    """Every convolution with its share of the batch normalisations, which follow a ReLU.

    A normalisation's scale goes into the convolution before it, but for its sign, which goes with the shift
    into those after it: a channel that is almost always 0 has a huge scale, and beside it all other weights
    of a later layer would be rounded to nothing.
    """
    layers = []
    sign = shift = None
    for block in teacher.decoder:
        gate, inner = block.attention, block.convolutions
        layers += [_after(sign, shift, gate.gate), _plain(gate.skip), _plain(gate.weigh)]
        layers += [_after(sign, shift, block.resize), _plain(inner.first)]
        scale, shift = _affine(inner.norm)
        sign, size = scale.sign(), scale.abs()
        layers.append((inner.second.weight * size[:, None, None, None], inner.second.bias * size))
    return [*layers, _after(sign, shift, teacher.tail.resize)]


def _plain(conv: nn.Conv2d) -> Layer:
    return conv.weight, conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias


def _after(sign: Tensor | None, shift: Tensor | None, conv: nn.Conv2d) -> Layer:
    """A convolution of ``sign`` (C,) times the features plus ``shift`` (C,), as one of the features."""
    weight, bias = _plain(conv)
    if sign is None or shift is None:
        return weight, bias
    return weight * sign[:, None, None], bias + torch.einsum("oihw,i->o", weight, shift)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a batch normalisation as it is used after training."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
