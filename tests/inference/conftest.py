"""Models for the inference tests."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny_models import tiny_depth_model
from torch import nn

from stream.depth.unet import AttentionUNet

UNET_SIZE = 32


class _Exported(AttentionUNet):
    """The network as it is shipped: the mask as a probability, the weights under their own names."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        depth, logit = super().forward(image)
        return depth, torch.sigmoid(logit)


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    return tiny_depth_model()


@pytest.fixture(scope="session")
def unet_model() -> bytes:
    """A narrow Attention U-Net with random weights and random batch statistics, 32x32."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = _Exported(width=4)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.2, 0.2)  # equal tensors would be exported as one
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # keeps the signal's scale through the layers
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, UNET_SIZE, UNET_SIZE),),
        input_names=["image"],
        output_names=["depth", "mask"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    buffer = io.BytesIO()
    program.save(buffer)
    model = onnx.load_model_from_string(buffer.getvalue())
    onnx.helper.set_model_props(
        model, {"architecture": "attention_unet", "width": "4", "size": str(UNET_SIZE)}
    )
    return model.SerializeToString()


@pytest.fixture(scope="session")
def half_unet_model(unet_model: bytes) -> bytes:
    """The same with its float weights stored as float16 and cast on use, under the same names."""
    model = onnx.load_model_from_string(unet_model)
    casts = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        wide = f"{tensor.name}::float32"
        for node in model.graph.node:
            node.input[:] = [wide if name == tensor.name else name for name in node.input]
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [wide], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(half)
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return model.SerializeToString()
