"""Layers that compute as int8 will, while they are trained (torch; training and export only).

Quantisation in the loop: activations are rounded to 8 bits without a sign per tensor, weights to 7 bits and
a sign per output channel, and gradients pass through the rounding where nothing was clipped (Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"; steps
that are learnt with the weights: Esser et al. 2020, "Learned Step Size Quantization"). What is exported
holds exactly these integers and steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from stream.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error

LEVELS = 255
"""Largest integer of an activation."""

WEIGHT_LIMIT = 64
"""Weights lie in -64..64: CPUs without VNNI add pairs of products in 16 bits, too few for
255 * 127 * 2."""

SIGNED_ZERO = 128
"""The integer that stands for 0 where values may be negative."""

SMALLEST_STEP = 1e-8

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Of a batch's range, tried as that of the rounding."""

SEEN = 1 << 18
"""About so many of a batch's values choose among them."""

Activation = Literal["relu", "relu6", "none"]


class _Rounded(torch.autograd.Function):
    """Rounding with a gradient for values and step; torch's own takes five times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_step: Tensor, zero: int) -> Tensor:
        step = log_step.exp()
        rounded = (values / step).round_().clamp_(-zero, LEVELS - zero).mul_(step)
        ctx.save_for_backward(values, rounded, step)
        ctx.zero = zero
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        values, rounded, step = ctx.saved_tensors
        gradient = gradients[0]
        inside = (values >= -ctx.zero * step) & (values <= (LEVELS - ctx.zero) * step)
        passed = gradient * inside
        # Per unit of the step's logarithm a value moves by its rounding error; by itself where clipped.
        moved = (gradient * rounded).sum() - (passed * values).sum()
        return passed, moved.to(step), None


class Rounding(nn.Module):
    """Rounds a tensor to 8 bits, one step for all of it; of any shape, float32 in and out.

    The step is learnt as its logarithm, so that a rate of learning means the same for coarse and fine
    tensors. It is set by the first batch that is seen.

    :param signed: values may be negative; 0 is exact either way, for convolutions pad with it.
    :param step: a step that is fixed instead of learnt.
    :ivar log_step: () the step's natural logarithm.
    :ivar begun: () bool, whether the step has been set.
    """

    log_step: Tensor
    begun: Tensor
    exact = False
    """Pass values on as they are."""

    def __init__(self, signed: bool, step: float | None = None) -> None:
        super().__init__()
        self.signed = signed
        value = torch.tensor(1.0 if step is None else step).log()
        if step is None:
            self.log_step = nn.Parameter(value)
        else:
            self.register_buffer("log_step", value)
        self.register_buffer("begun", torch.tensor(step is not None))

    @property
    def zero(self) -> int:
        """The integer that stands for 0."""
        return SIGNED_ZERO if self.signed else 0

    def forward(self, values: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return self._exported(values)
        if self.exact:
            return values
        if not self.begun:
            self._begin(values)
        rounded: Tensor = _Rounded.apply(values, self.log_step, self.zero)
        return rounded

    @torch.no_grad()
    def _begin(self, values: Tensor) -> None:
        """Take the step that changes this batch least: one that holds it all, or a finer one that clips."""
        levels = LEVELS - self.zero
        whole = (values.abs().amax().float() / levels).clamp(min=SMALLEST_STEP).log()
        some = values.flatten()[:: max(1, values.numel() // SEEN)]
        tried = [whole + math.log(share) for share in SHARES]
        errors = [(_Rounded.apply(some, step, self.zero) - some).square().mean() for step in tried]
        self.log_step.copy_(tried[int(torch.stack(errors).argmin())])
        self.begun.fill_(True)

    def _exported(self, values: Tensor) -> Tensor:
        """The pair of nodes that backends turn into integer arithmetic."""
        step = self.log_step.detach().exp()
        zero = torch.tensor(self.zero, dtype=torch.uint8)
        shape = values.shape
        integers = torch.onnx.ops.symbolic(
            "QuantizeLinear", [values, step, zero], dtype=torch.uint8, shape=shape
        )
        rounded: Tensor = torch.onnx.ops.symbolic(
            "DequantizeLinear", [integers, step, zero], dtype=torch.float32, shape=shape
        )
        return rounded


class Convolution(nn.Module):
    """A convolution in integers, with what follows it: (N, I, H, W) -> (N, O, H/s, W/s).

    Pads as TensorFlow's SAME does; H and W must be multiples of the stride s.

    :param activation: after the bias.
    :param rounded: round the result; the next layer's input is to be rounded somewhere.
    :param exact: compute in float, with the weights as they are.
    :ivar weight: (O, I, h, w), in units of each output channel's scale: -1..1.
    :ivar bias: (O,), likewise.
    :ivar log_scale: (O,) the scales' natural logarithms. One rate of learning so fits all channels, however
        large a folded normalisation has made them.
    """

    watch: Callable[[Convolution, Tensor], Tensor] | None = None
    """Sees, and may change, the result before the activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
        rounded: bool = True,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.exact = exact
        total = kernel - stride
        self._uneven = (total // 2, total - total // 2) * 2 if total % 2 else None
        self._padding = 0 if self._uneven else total // 2
        self._stride, self._groups = stride, groups
        self.activation = activation
        shape = (outputs, inputs // groups, kernel, kernel)
        self.weight, self.bias = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(outputs))
        self.log_scale = nn.Parameter(torch.empty(outputs))
        self.rounding = Rounding(activation == "none") if rounded else None
        start = nn.Conv2d(inputs, outputs, kernel, groups=groups)
        self.fill(start.weight, start.bias)

    def forward(self, features: Tensor) -> Tensor:
        padded = functional.pad(features, self._uneven) if self._uneven else features
        bias = self.scaled_bias()
        weight = self.exact_weight() if self.exact else self.rounded_weight()
        result = functional.conv2d(padded, weight, bias, self._stride, self._padding, groups=self._groups)
        if self.watch is not None:
            result = self.watch(self, result)
        if self.activation == "relu":
            result = functional.relu(result)
        elif self.activation == "relu6":
            result = functional.relu6(result)
        return result if self.rounding is None else self.rounding(result)

    @torch.no_grad()
    def fill(self, weight: Tensor, bias: Tensor) -> None:
        """Take the weight (O, I, h, w) and bias (O,) of a convolution in float.

        What each channel's weights add up to is kept by the rounding: filters of edges answer nothing to a
        plain surface only while theirs add up to nothing.
        """
        scale = weight.abs().flatten(1).amax(dim=1).clamp(min=SMALLEST_STEP)
        units = (weight / scale[:, None, None, None]).flatten(1) * WEIGHT_LIMIT
        self.weight.copy_((_sum_kept(units) / WEIGHT_LIMIT).view_as(weight))
        self.bias.copy_(bias / scale)
        self.log_scale.copy_(scale.log())

    def scaled_bias(self) -> Tensor:
        """The bias (O,) as it is added."""
        return self.bias * self.log_scale.exp()

    def exact_weight(self) -> Tensor:
        """The weight (O, I, h, w) as it is learnt."""
        return self.weight * self.log_scale.exp()[:, None, None, None]

    def rounded_weight(self) -> Tensor:
        """The weight (O, I, h, w) as its integers times each channel's step."""
        steps = self.log_scale.exp() / WEIGHT_LIMIT
        # Nothing is lost by the rounding to the gradient, which passes as it is.
        units = self.weight.clamp(-1, 1) * WEIGHT_LIMIT
        integers = units.detach().round()
        if torch.onnx.is_in_onnx_export():
            exported: Tensor = torch.onnx.ops.symbolic(
                "DequantizeLinear",
                [integers.to(torch.int8), steps.detach()],
                attrs={"axis": 0},
                dtype=torch.float32,
                shape=self.weight.shape,
            )
            return exported
        return (units + (integers - units.detach())) * steps[:, None, None, None]


def _sum_kept(units: Tensor) -> Tensor:
    """Values (O, K), some moved to the integer on their other side, so that the rounded ones' sum is right.

    Of each row those are moved that are nearest to the middle between two integers.
    """
    rounded = units.round()
    missing = (units.sum(dim=1) - rounded.sum(dim=1)).round()
    error = (units - rounded) * missing.sign()[:, None]
    place = error.argsort(dim=1, descending=True).argsort(dim=1)
    moved = (place < missing.abs()[:, None]) & (error > 0)
    target = (rounded + missing.sign()[:, None]).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return torch.where(moved, target, units)


@contextmanager
def exact(network: nn.Module) -> Iterator[None]:
    """Let a network compute without rounding for a while."""
    parts = [module for module in network.modules() if isinstance(module, (Rounding, Convolution))]
    before = [part.exact for part in parts]
    for part in parts:
        part.exact = True
    try:
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            part.exact = value


@torch.no_grad()
def calibrate(network: nn.Module, run: Callable[[], object]) -> None:
    """Set the steps that are not set yet, and every bias so that a layer's mean is what it is unrounded.

    Rounded weights shift a layer's mean, and the shifts add up from layer to layer (Nagel et al. 2019,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2).

    :param run: computes the network, every time on the same pictures.
    """
    layers = [module for module in network.modules() if isinstance(module, Convolution)]
    means: dict[Convolution, Tensor] = {}

    def note(layer: Convolution, result: Tensor) -> Tensor:
        means[layer] = result.mean(dim=(0, 2, 3))
        return result

    def mend(layer: Convolution, result: Tensor) -> Tensor:
        shift = means[layer] - result.mean(dim=(0, 2, 3))
        layer.bias += shift / layer.log_scale.exp()
        return result + shift[:, None, None]

    try:
        _watch(layers, note)
        with exact(network):
            run()
        _watch(layers, mend)
        run()
    finally:
        _watch(layers, None)


def _watch(layers: list[Convolution], watch: Callable[[Convolution, Tensor], Tensor] | None) -> None:
    for layer in layers:
        layer.watch = watch
