"""What every depth network has in common: its input, its maps, its head, its name and options (torch).

Networks are built by name (`build_network`), so that checkpoints, exported files and settings need to
carry nothing but the architecture and its options.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import ClassVar, NamedTuple

from stream.errors import InputError, MissingExtraError, ModelError

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "attention_unet": ("stream.networks.unet", "AttentionUNet"),
    "mobile_unet": ("stream.networks.mobile_unet", "MobileUNet"),
    "live_unet": ("stream.networks.live_unet", "LiveUNet"),
    "dpt": ("stream.networks.dpt", "DPT"),
}
"""Module and class of every architecture, by its name."""

OUTPUTS = ("depth", "mask", "confidence", "normal")
"""What an exported network gives, see `outputs_of`."""

MIN_SPREAD, MAX_SPREAD = -7.0, 1.0
"""Bounds of the spread: below, a few lucky pixels would rule the loss; above, everything is lost anyway."""

CONFIDENT_SPREAD = 0.05
"""Laplacian scale, crop units, at which the confidence has fallen to 1/e; about 4 mm on a face."""


class DepthMaps(NamedTuple):
    """What a network says about N crops of H x W pixels; all float32.

    :ivar depth: (N, 1, H, W) crop units along the line of sight (`stream.depth.sight`).
    :ivar mask: (N, 1, H, W) logit of the head against background and whatever is held before it.
    :ivar spread: (N, 1, H, W) logarithm of the scale b, crop units, of the Laplace distribution about
        ``depth`` (seed 001, eq. 4.6); between `MIN_SPREAD` and `MAX_SPREAD`.
    :ivar normal: (N, 3, H, W) unit normals (p, q, -1) / |.| of the height field with slopes p along x
        (right) and q along y (down), in crop units of depth per crop unit of picture; z < 0.
    """

    depth: Tensor
    mask: Tensor
    spread: Tensor
    normal: Tensor


class DepthHead(nn.Module):
    """Features to maps by one 1x1 convolution: (N, C, H, W) -> `DepthMaps`, always in float32.

    Its five channels are depth, mask logit, spread and the two slopes. Slopes instead of three free
    components leave no normal that a height field cannot have. The spread is bounded smoothly, so that
    its gradient never vanishes; it starts near b = 0.05.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, 5, 1)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Weight (5, C, 1, 1) and bias (5,) of the convolution."""
        return self.maps.weight, self.maps.bias

    def forward(self, features: Tensor) -> DepthMaps:
        if torch.is_autocast_enabled(features.device.type):
            with torch.autocast(features.device.type, enabled=False):
                return self._maps(features.float())
        return self._maps(features.float())

    def _channels(self, features: Tensor) -> Tensor:
        """The 1x1 convolution; trained as a product of matrices, which PyTorch's CPU does four times as fast
        in both directions. What is exported is the convolution."""
        if not self.training:
            return self.maps(features)
        count, _, height, width = features.shape
        weight, bias = self.affine()
        matrix = weight[:, :, 0, 0].expand(count, -1, -1)
        product = torch.baddbmm(bias[None, :, None], matrix, features.flatten(2))
        return product.view(count, -1, height, width)

    def _maps(self, features: Tensor) -> DepthMaps:
        depth, mask, spread, slopes = self._channels(features).split((1, 1, 1, 2), dim=1)
        half, middle = (MAX_SPREAD - MIN_SPREAD) / 2, (MAX_SPREAD + MIN_SPREAD) / 2
        spread = middle + half * torch.tanh(spread / half)
        return DepthMaps(depth, mask, spread, normals_of_slopes(slopes))


class DepthNetwork(nn.Module):
    """Base of the depth networks: ``features`` and ``head``, apart so that training can run them at
    different precision.

    :cvar architecture: the name in `ARCHITECTURES`.
    :cvar choices: the values each option may have, by the option's name.
    :cvar channels_last: train with the channels innermost in memory. The mobile U-Net gains a third by it;
        PyTorch 2.13 ends the process in the backward pass of the Attention U-Net so laid out.
    :cvar maps_stride: pixels of the picture per pixel of the maps, along each side.
    :cvar rounds: it computes in integers.
    :ivar stride: height and width of the input must be multiples of it.
    :ivar head: the `DepthHead`.
    """

    architecture: ClassVar[str]
    choices: ClassVar[Mapping[str, Collection[int | str]]]
    channels_last: ClassVar[bool] = False
    maps_stride: ClassVar[int] = 1
    rounds: ClassVar[bool] = False
    stride: int
    head: DepthHead

    def __init__(self, **options: int | str) -> None:
        """:raises InputError: an option is unknown or not among its `choices`."""
        super().__init__()
        self._options = options
        for name, value in options.items():
            _check_option(type(self), name, value)

    def options(self) -> dict[str, int | str]:
        """What `build_network` needs besides the architecture to build this network again."""
        return dict(self._options)

    def features(self, image: Tensor) -> Tensor:
        """What the head sees: (N, C, H, W) of float images (N, 3, H, W) in [-1, 1].

        :raises InputError: the shape or dtype does not fit (`check_image`).
        """
        raise NotImplementedError

    def forward(self, image: Tensor) -> DepthMaps:
        """The maps of float images (N, 3, H, W) in [-1, 1]; see `features`."""
        maps: DepthMaps = self.head(self.features(image))
        return maps

    def load_pretrained(self) -> None:
        """Fill the encoder with published weights.

        :raises InputError: there are none for this architecture.
        :raises MissingExtraError: the package that holds them is not installed.
        :raises ModelError: they are damaged or do not fit.
        """
        raise InputError(f"There are no pretrained weights for {self.architecture}; train it from scratch.")


def build_network(architecture: str, pretrained: bool = False, **options: int | str) -> DepthNetwork:
    """A network with random weights.

    :param architecture: a name in `ARCHITECTURES`.
    :param pretrained: fill the encoder with published weights, where there are some.
    :param options: what the architecture's class takes; absent ones have their defaults.
    :raises InputError: an option is unknown or not among its choices.
    :raises ModelError: there is no such architecture.
    """
    kind = network_class(architecture)
    for name, value in options.items():
        _check_option(kind, name, value)
    network = kind(**options)
    if pretrained:
        network.load_pretrained()
    return network


def network_class(architecture: str) -> type[DepthNetwork]:
    """The class of an architecture.

    :raises ModelError: there is no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"There is no depth network {architecture!r}; there are {', '.join(sorted(ARCHITECTURES))}."
        )
    module, name = ARCHITECTURES[architecture]
    kind: type[DepthNetwork] = getattr(import_module(module), name)
    return kind


def check_image(image: Tensor, stride: int) -> None:
    """:raises InputError: not a float tensor (N, 3, H, W) with H and W positive multiples of ``stride``."""
    shape = tuple(image.shape)
    fits = len(shape) == 4 and shape[1] == 3 and min(shape) > 0
    if not fits or shape[2] % stride or shape[3] % stride:
        raise InputError(
            f"The depth network takes (N, 3, H, W) with H and W divisible by {stride}, not {shape}."
        )
    if not image.is_floating_point():
        raise InputError(f"The depth network takes float images in [-1, 1], not {image.dtype}.")


def network_of(metadata: Mapping[str, str]) -> DepthNetwork:
    """The network, with random weights, that a file's metadata describes: ``architecture`` and its options.

    :raises ModelError: the architecture is unknown, or an option is absent or not among its choices.
    """
    kind = network_class(metadata.get("architecture", ""))
    options: dict[str, int | str] = {}
    for name in kind.choices:
        if name not in metadata:
            raise ModelError(f"The model does not say its {name}; get it again, or export it anew.")
        text = metadata[name]
        options[name] = int(text) if text.isdecimal() and len(text) < 10 else text
    try:
        return kind(**options)
    except InputError as error:
        raise ModelError(f"The model cannot be built: {error}") from error


def normals_of_slopes(slopes: Tensor) -> Tensor:
    """Unit normals (p, q, -1) / |.|, (N, 3, H, W), of slopes (N, 2, H, W)."""
    inverse = torch.rsqrt(1 + slopes.square().sum(dim=1, keepdim=True))
    return torch.cat([slopes * inverse, -inverse], dim=1)


def confidence_of(spread: Tensor) -> Tensor:
    """Confidence in 0..1: exp(-b / `CONFIDENT_SPREAD`) with b = exp(``spread``)."""
    return torch.exp(torch.exp(spread) / -CONFIDENT_SPREAD)


def outputs_of(maps: DepthMaps) -> dict[str, Tensor]:
    """What an exported network gives, by name and in order.

    ``depth`` (N, 1, H, W) crop units, ``mask`` and ``confidence`` (N, 1, H, W) in 0..1, and ``normal``
    (N, 3, H, W); see `DepthMaps` and `confidence_of`.
    """
    return {
        "depth": maps.depth,
        "mask": torch.sigmoid(maps.mask),
        "confidence": confidence_of(maps.spread),
        "normal": maps.normal,
    }


def _check_option(kind: type[DepthNetwork], name: str, value: object) -> None:
    if name not in kind.choices:
        known = ", ".join(kind.choices) or "none"
        raise InputError(f"{kind.architecture} has no option {name!r}; it has: {known}.")
    choices = kind.choices[name]
    # By type too: True is among the integers and 16.0 is equal to one of them.
    if type(value) not in (int, str) or value not in choices:
        wanted = (
            f"{choices[0]}..{choices[-1]}" if isinstance(choices, range) else " or ".join(map(str, choices))
        )
        raise InputError(f"{kind.architecture} cannot have the {name} {value!r}; give {wanted}.")
