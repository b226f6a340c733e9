"""What is shipped computes what was trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from depth_shards import write_dataset  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from stream.data.shards import load_dataset  # noqa: E402
from stream.errors import InputError, ModelError  # noqa: E402
from stream.inference.backends import load_engine  # noqa: E402
from stream.models.manifest import load_manifest  # noqa: E402
from stream.networks.network import DepthNetwork, build_network  # noqa: E402
from stream.networks.unet import AttentionUNet  # noqa: E402
from stream.training import export  # noqa: E402
from stream.training.loop import CHECKPOINT, Trainer  # noqa: E402
from stream.training.release import Judged, release_network, verdict  # noqa: E402
from stream.training.settings import DepthTraining  # noqa: E402
from stream.training.tasks.depth import DepthTask  # noqa: E402

SIZE = 32


def trained(architecture: str, size: int, **options: Any) -> DepthNetwork:
    """Random float16 weights and batch statistics that are not trivial.

    The scales of the normalisations are all equal: such tensors must not be merged into one.
    """
    torch.manual_seed(3)
    network = build_network(architecture, **options)
    for parameter in network.parameters():
        noise = 0.05 * torch.randn_like(parameter) if parameter.ndim > 1 else 0
        parameter.data = (parameter.data + noise).half().float()
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.randn(4, 3, size, size))
    return network.eval()


@pytest.fixture(
    scope="module",
    params=[
        ("attention_unet", 32, {"width": 6}),
        ("attention_unet", 64, {"width": 6, "stem": 2}),
        ("mobile_unet", 64, {}),
        ("dpt", 64, {"variant": "small"}),
    ],
    ids=lambda value: f"{value[0]}{value[2].get('stem', '')}",
)
def exported(request) -> tuple[DepthNetwork, int, bytes]:
    """Each architecture, its size and its file."""
    architecture, size, options = request.param
    network = trained(architecture, size, **options)
    return network, size, export.export_onnx(network, size).SerializeToString()


def noise(count: int, size: int, seed: int = 1) -> Any:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def run(content: bytes, images: Any, backend: str = "onnxruntime") -> dict[str, np.ndarray]:
    engine = load_engine(content, backend, threads=1, precision="f32", batch=len(images))
    outputs = engine.run({"image": images.numpy()})
    engine.close()
    return outputs


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_every_backend_agrees_with_the_trained_network(exported, backend):
    network, size, content = exported
    images = noise(3, size)
    found = run(content, images, backend)
    with torch.inference_mode():
        maps = network(images)
    b = torch.exp(maps.spread)
    expected = {
        "depth": maps.depth,
        "mask": 1 / (1 + torch.exp(-maps.mask)),
        "confidence": torch.exp(-b / 0.05),
        "normal": maps.normal,
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert value.std() > 1e-4, name
        assert np.abs(found[name] - value.numpy()).max() < 1e-4, name
    for name in ("mask", "confidence"):
        assert 0 <= found[name].min() < found[name].max() <= 1


def test_sizes_that_the_network_does_not_take_are_refused():
    for size in (0, -16, 40):
        with pytest.raises(InputError, match="divisible by 16"):
            export.export_onnx(AttentionUNet(2), size)


def test_parity_with_the_same_rounded_weights_is_nearly_exact(exported):
    network, size, content = exported
    assert export.check_parity(network, content, size) < 2e-5


def test_another_networks_file_is_refused(exported):
    network, size, content = exported
    other = build_network(network.architecture, **network.options())
    with pytest.raises(ModelError, match="differs from torch"):
        export.check_parity(other, content, size)


def stored(content: bytes) -> dict[str, np.ndarray]:
    model = onnx.load_model_from_string(content)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_weights_keep_their_names_and_large_ones_are_halves(exported):
    network, _, content = exported
    found = stored(content)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        half = value.numel() >= export.HALF_FROM
        assert found[name].dtype == (np.float16 if half else np.float32)
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-3, atol=1e-6)
    total = sum(
        value.numel() * (2 if value.numel() >= 1024 else 4) for value in network.state_dict().values()
    )
    assert len(content) < total + 150_000


def test_metadata_says_what_to_build_and_no_path_of_the_exporting_machine_is_left(exported):
    network, size, content = exported
    metadata = {entry.key: entry.value for entry in onnx.load_model_from_string(content).metadata_props}
    options = {name: str(value) for name, value in network.options().items()}
    assert metadata == {"architecture": network.architecture, **options, "size": str(size)}
    assert b".py" not in content
    assert str(export.__file__).rsplit("/", 3)[0].encode() not in content


def test_a_model_held_to_another_is_shipped_only_where_it_is_as_good_and_faster():
    def judged(l1: float, normals: float, milliseconds: float) -> Judged:
        return Judged(b"", {"l1_val": l1, "normals_degrees_val": normals}, milliseconds)

    full = judged(0.05, 12.0, 4.0)
    assert verdict(full, judged(0.0514, 12.3, 3.0)) is None
    assert "L1 grows" in str(verdict(full, judged(0.052, 12.0, 3.0)))
    assert "normals grows" in str(verdict(full, judged(0.05, 12.4, 3.0)))
    assert "not faster" in str(verdict(full, judged(0.05, 12.0, 4.0)))


def test_a_release_writes_models_and_manifest(tmp_path, monkeypatch):
    data = write_dataset(tmp_path / "data", size=SIZE, train=6, val=4)
    run = DepthTraining(
        data=data,
        architecture="attention_unet",
        options={"width": 4},
        pretrained=False,
        stages=(),
        size=SIZE,
        steps=4,
        batch=2,
        threads=1,
        autocast=False,
    )
    task = DepthTask(run, load_dataset(data, "train"), load_dataset(data, "val"))
    Trainer(run, task, tmp_path / "run").run()
    manifest = tmp_path / "package" / "manifest.yaml"
    (manifest.parent / "files").mkdir(parents=True)
    (manifest.parent / "files" / DepthTask.card).write_text("card")
    manifest.write_text("models: []\n")
    result = release_network(tmp_path / "run" / CHECKPOINT, data, manifest)
    entry = load_manifest(manifest).find("depth")
    assert entry.crop_size == SIZE
    assert entry.accuracy["l1_test"] == pytest.approx(result["depth"]["accuracy"]["l1_test"])
    assert "on-commercial" in entry.licence
    assert (manifest.parent / "files" / "depth.onnx").stat().st_size == entry.bytes
    # Half precision rounds, and no more: three digits of the accuracy stay.
    full = result["depth"]["validation"]
    assert result["fp16"] != full
    for key, value in result["fp16"].items():
        assert value == pytest.approx(full[key], rel=0.02, abs=2e-3)
