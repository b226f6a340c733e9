"""The live network is the teacher in integers, at half its size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stream.inference.backend_torch import network_in  # noqa: E402
from stream.inference.backends import load_engine, read_model  # noqa: E402
from stream.models.store import open_model  # noqa: E402
from stream.networks import rounding  # noqa: E402
from stream.networks.live_unet import LiveUNet, fit_tail, folded  # noqa: E402
from stream.networks.mobile_unet import MobileUNet  # noqa: E402
from stream.networks.network import build_network, outputs_of  # noqa: E402
from stream.networks.rounding import calibrate, exact  # noqa: E402

SIZE = 64


@pytest.fixture(scope="module")
def teacher() -> MobileUNet:
    return network_in(read_model(open_model("depth")))


@pytest.fixture(scope="module")
def pictures() -> Any:
    """(4, 3, 64, 64): smooth blobs of colour."""
    coarse = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def network(teacher, pictures) -> LiveUNet:
    network = folded(teacher).eval()
    with exact(network):
        fit_tail(network, teacher, pictures)
    calibrate(network, lambda: network(pictures))
    return network


def test_unrounded_it_computes_the_teachers_features(teacher, pictures, monkeypatch):
    monkeypatch.setattr(rounding, "_sum_kept", lambda units: units)
    network = folded(teacher).eval()
    pictures = torch.nn.functional.interpolate(pictures[:1], 192, mode="bicubic").clamp(-1, 1)
    with torch.inference_mode(), exact(network):
        for ours, theirs in zip(network.encoder(pictures), teacher.encoder(pictures), strict=True):
            torch.testing.assert_close(ours, theirs, atol=5e-3, rtol=1e-3)
        skips = teacher.encoder(pictures)
        features = skips.pop()
        for block in teacher.decoder:
            features = block(features, skips.pop())
        wanted = teacher.tail.resize(features)
        error = (network.backbone(pictures) - wanted).abs()
    # A shift before a padded convolution is known inside only: the borders of all scales differ.
    assert error[..., 12:-12, 12:-12].mean() < 0.15 * wanted.abs().mean()


def test_rounded_it_stays_near_the_teacher(teacher, pictures, network):
    with torch.inference_mode():
        maps, wanted = network(pictures), teacher(pictures)
    assert maps.depth.shape == (4, 1, SIZE // 2, SIZE // 2)
    depth = torch.nn.functional.avg_pool2d(wanted.depth, 2)
    assert (maps.depth - depth).abs().mean() < 0.5 * depth.std()


def test_it_learns_all_its_weights_and_steps(network, pictures):
    learner = build_network("live_unet").train()
    learner.load_state_dict(network.state_dict())
    maps = learner(pictures)
    (maps.depth.square().mean() + maps.mask.mean() + maps.spread.mean() + maps.normal[:, 0].mean()).backward()
    without = [name for name, value in learner.named_parameters() if value.grad is None]
    assert without == []
    assert all(torch.isfinite(value.grad).all() for value in learner.parameters())


def test_training_and_inference_compute_the_same_maps(network, pictures):
    with torch.no_grad():
        judged = network.eval()(pictures)
        trained = network.train()(pictures)
    network.eval()
    torch.testing.assert_close(trained.depth, judged.depth, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_file_computes_what_was_trained_in_integers(network, pictures, backend):
    onnx = pytest.importorskip("onnx")
    from stream.training.export_rounded import READ, export_rounded

    content = export_rounded(network, SIZE).SerializeToString()
    with torch.inference_mode():
        expected = outputs_of(network(pictures))
    engine = load_engine(content, backend, threads=1, precision="f32", batch=4)
    found = engine.run({"image": pictures.numpy()})
    engine.close()
    assert tuple(found) == READ
    assert np.abs(found["depth"] - expected["depth"].numpy()).mean() < 0.01
    assert np.abs(found["mask"] - expected["mask"].numpy()).mean() < 0.01
    model = onnx.load_model_from_string(content)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 72
    in_float = [node for node in convolutions if node.input[1] in stored]
    assert len(in_float) == 2  # the last two
    for node in convolutions[:-2]:
        weight = makers[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        assert stored[weight.input[0]].data_type == onnx.TensorProto.INT8
