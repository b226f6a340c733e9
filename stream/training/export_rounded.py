"""The live network as the ONNX file that is shipped: its own integers and steps, nothing measured anew."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stream.errors import InputError, ModelError
from stream.inference.backends import load_engine
from stream.networks.live_unet import LiveUNet
from stream.networks.network import outputs_of
from stream.training.export import strip, traced

try:
    import onnx
    from onnx import helper
except ImportError as error:  # pragma: no cover - depends on the installation
    from stream.errors import MissingExtraError

    raise MissingExtraError("onnx", "train") from error

READ = ("depth", "mask", "confidence")
"""What live capture reads of `stream.networks.network.OUTPUTS`."""

PARITY = 0.03
"""Largest mean difference, crop units or shares of 1, allowed between file and torch: a value on the edge
between two integers may fall to either side."""

_INTEGERS = ("QuantizeLinear", "DequantizeLinear")


class _Read(nn.Module):
    """The network, but for what nobody reads."""

    def __init__(self, network: LiveUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = outputs_of(self.network(image))
        return tuple(outputs[name] for name in READ)


def export_rounded(network: LiveUNet, size: int) -> Any:
    """The network as a quantised ONNX model (a ``ModelProto``, QDQ).

    Input ``image`` (N, 3, size, size) float32 in [-1, 1]; outputs `READ`, (N, 1, size/2, size/2) float32.

    :raises InputError: the network does not take pictures of this size.
    :raises ModelError: the result is not valid ONNX, or differs from the torch module.
    """
    if size < 1 or size % network.stride:
        raise InputError(f"{network.architecture} takes sizes divisible by {network.stride}, not {size}.")
    read = _Read(copy.deepcopy(network)).eval().requires_grad_(False)
    model = traced(read, size, READ, _may_fold)
    strip(model)
    helper.set_model_props(model, {"architecture": network.architecture, "size": str(size)})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"The exported network is not valid ONNX ({error}).") from error
    _check_parity(network, model.SerializeToString(), size)
    return model


def _may_fold(node: Any) -> bool:
    """Everything that is known may be worked out, but integers stay integers."""
    return node.op_type not in _INTEGERS


def _check_parity(network: LiveUNet, content: bytes, size: int) -> None:
    # Smooth, as pictures are: of white noise every value lies on the edge between two integers somewhere.
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
    images[1] = torch.linspace(-1, 1, size)
    with torch.inference_mode():
        expected = outputs_of(copy.deepcopy(network).eval()(images))
    engine = load_engine(content, "onnxruntime", precision="f32", batch=2)
    found = engine.run({"image": images.numpy()})
    engine.close()
    worst = max(float(np.abs(found[name] - expected[name].numpy()).mean()) for name in READ)
    if not worst < PARITY:
        raise ModelError(f"The exported network differs from torch by {worst:.2g}; at most {PARITY} may be.")
