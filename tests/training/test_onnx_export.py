"""What is shipped computes what was trained."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from depth_shards import write_dataset  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from stream.depth.unet import AttentionUNet  # noqa: E402
from stream.errors import ModelError  # noqa: E402
from stream.evaluation.shards import load_dataset  # noqa: E402
from stream.inference.backends import load_engine  # noqa: E402
from stream.inference.manifest import load_manifest  # noqa: E402
from stream.training import export, release  # noqa: E402
from stream.training.loop import CHECKPOINT, Trainer  # noqa: E402
from stream.training.release import Judged, int8_verdict, release_depth  # noqa: E402
from stream.training.settings import DepthTraining  # noqa: E402

SIZE = 32


@pytest.fixture(scope="module")
def network() -> AttentionUNet:
    """Random float16 weights, all different as after training, with batch statistics that are not trivial."""
    torch.manual_seed(3)
    network = AttentionUNet(6)
    for parameter in network.parameters():
        parameter.data = (parameter.data + 0.1 * torch.randn_like(parameter)).half().float()
    for _ in range(3):
        network.train()(torch.randn(4, 3, SIZE, SIZE))
    return network.eval()


@pytest.fixture(scope="module")
def content(network) -> bytes:
    return export.export_onnx(network, SIZE).SerializeToString()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_every_backend_agrees_with_the_trained_network(network, content, backend):
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    engine = load_engine(content, backend, threads=1, precision="f32", batch=3)
    found = engine.run({"image": images.numpy()})
    with torch.inference_mode():
        depth, logit = network(images)
    assert np.abs(found["depth"] - depth.numpy()).max() < 1e-4
    assert np.abs(found["mask"] - torch.sigmoid(logit).numpy()).max() < 1e-4
    assert 0 <= found["mask"].min() < found["mask"].max() <= 1
    engine.close()


def test_a_network_whose_weights_would_lose_their_names_is_refused():
    with pytest.raises(ModelError, match="lost the names"):
        export.export_onnx(AttentionUNet(2), SIZE)


def test_parity_with_the_same_rounded_weights_is_nearly_exact(network, content):
    assert export.check_parity(network, content, SIZE) < 1e-5


def test_another_networks_file_is_refused(content):
    with pytest.raises(ModelError, match="differs from torch"):
        export.check_parity(AttentionUNet(6), content, SIZE)


def test_weights_keep_their_names_and_large_ones_are_halves(network, content):
    model = onnx.load_model_from_string(content)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        half = value.numel() >= export.HALF_FROM
        assert stored[name].dtype == (np.float16 if half else np.float32)
        np.testing.assert_allclose(stored[name], value.numpy(), rtol=1e-3, atol=1e-6)
    total = sum(
        value.numel() * (2 if value.numel() >= 1024 else 4) for value in network.state_dict().values()
    )
    assert len(content) < total + 40_000


def test_metadata_says_what_to_build_and_no_path_of_the_exporting_machine_is_left(network, content):
    metadata = {entry.key: entry.value for entry in onnx.load_model_from_string(content).metadata_props}
    assert metadata == {"architecture": "attention_unet", "width": "6", "size": "32"}
    assert b".py" not in content
    assert str(export.__file__).rsplit("/", 3)[0].encode() not in content


def test_int8_stays_near_the_float_network(network, content):
    images = (torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1).numpy()
    small = export.quantized(content, images)
    assert len(small) < len(content)
    results = []
    for model in (content, small):
        engine = load_engine(model, "onnxruntime", threads=1, batch=8)
        results.append(engine.run({"image": images})["depth"])
        engine.close()
    spread = results[0].std()
    assert 0 < np.abs(results[0] - results[1]).mean() < 0.2 * spread


def test_int8_is_shipped_only_where_it_is_as_good_and_faster():
    def judged(l1: float, normals: float, milliseconds: float) -> Judged:
        return Judged(b"", {"l1_val": l1, "normals_degrees_val": normals}, milliseconds)

    full = judged(0.05, 12.0, 4.0)
    assert int8_verdict(full, judged(0.051, 12.9, 3.0)) is None
    assert "L1 grows" in int8_verdict(full, judged(0.052, 12.0, 3.0))
    assert "normals grow" in int8_verdict(full, judged(0.05, 13.1, 3.0))
    assert "not faster" in int8_verdict(full, judged(0.05, 12.0, 4.0))


def test_a_release_writes_models_and_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "CALIBRATION", 4)
    data = write_dataset(tmp_path / "data", size=SIZE, train=6, val=4)
    run = DepthTraining(data=data, width=4, steps=4, batch=2, threads=1, autocast=False)
    Trainer(run, load_dataset(data, "train"), load_dataset(data, "val"), tmp_path / "run").run()
    manifest = tmp_path / "package" / "manifest.yaml"
    (manifest.parent / "models").mkdir(parents=True)
    (manifest.parent / "models" / release.CARD).write_text("card")
    manifest.write_text("models: []\n")
    result = release_depth(tmp_path / "run" / CHECKPOINT, data, manifest)
    entry = load_manifest(manifest).find("depth")
    assert entry.crop_size == SIZE
    assert entry.accuracy["l1_test"] == pytest.approx(result["depth"]["accuracy"]["l1_test"])
    assert "on-commercial" in entry.licence
    assert (manifest.parent / "models" / "depth.onnx").stat().st_size == entry.bytes
    assert (result["int8"] == "shipped") == (manifest.parent / "models" / "depth-int8.onnx").exists()
