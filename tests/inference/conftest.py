"""Models for the inference tests."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_depth_model
from torch import nn

from stream.networks.unet import AttentionUNet
from stream.training.export import export_onnx


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    return tiny_depth_model()


@pytest.fixture(scope="session")
def unet_model() -> bytes:
    """A narrow Attention U-Net as it is shipped, 32x32, with random weights and batch statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = AttentionUNet(width=4)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.2, 0.2)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)  # keeps the signal's scale through the layers
    content: bytes = export_onnx(network, 32).SerializeToString()
    return content
