"""DPT against the `transformers` library with the same weights, and the files it is imported from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from stream.errors import InputError, ModelError  # noqa: E402
from stream.models import dpt_import  # noqa: E402
from stream.models.dpt_import import import_dpt, load_published  # noqa: E402
from stream.networks.dpt import DPT, DenseTransformer, Shape  # noqa: E402

TINY = Shape(32, 4, (1, 2, 4, 5), 4, (8, 12, 16, 24), 16, monocular=True)
"""As DPT-Large but for its sizes; taken for pictures of 64 pixels."""


def published(shape: Shape):
    """The same network of `transformers`, not yet filled."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    return transformers.DPTForDepthEstimation(
        transformers.DPTConfig(
            hidden_size=shape.dim,
            num_hidden_layers=shape.taps[-1],
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.dim,
            image_size=16 * shape.grid,
            backbone_out_indices=[tap - 1 for tap in shape.taps],
            neck_hidden_sizes=list(shape.maps),
            fusion_hidden_size=shape.fusion,
        )
    )


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    network = published(TINY).eval()
    for value in network.parameters():
        # Tokens, positions and biases start at zero there, and everything else is small.
        value.data += 0.15 * torch.randn_like(value)
    network.head.head[4].bias.data.fill_(1.0)  # in the linear part of the last ReLU
    return network


@pytest.fixture(scope="module")
def path(theirs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors.save_file(theirs.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ours(path) -> DenseTransformer:
    network = DenseTransformer(TINY).eval()
    load_published(network, path)
    return network


@pytest.mark.parametrize("size", [64, 32, 96])
def test_it_agrees_with_transformers_at_every_size(ours, theirs, size):
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1
    with torch.inference_mode():
        found = ours.inverse_depth(images)
        expected = theirs(images).predicted_depth
    assert expected.std() > 0.03
    assert (expected > 0).float().mean() > 0.9
    assert found.shape == (2, 1, size, size)
    assert (found[:, 0] - expected).abs().max() < 1e-4 * max(1.0, expected.abs().max().item())


def midas_names(state: dict[str, Any]) -> dict[str, Any]:
    """The names and the joined matrices of the original implementation (Ranftl et al. 2021)."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in (
            (r"^dpt\.embeddings\.position_embeddings", "pretrained.model.pos_embed"),
            (r"^dpt\.embeddings\.patch_embeddings\.projection", "pretrained.model.patch_embed.proj"),
            (r"^dpt\.embeddings\.", "pretrained.model."),
            (r"^dpt\.encoder\.layer\.", "pretrained.model.blocks."),
            (r"^dpt\.layernorm", "pretrained.model.norm"),
            (r"attention\.output\.dense", "attn.proj"),
            (r"intermediate\.dense", "mlp.fc1"),
            (r"output\.dense", "mlp.fc2"),
            (r"layernorm_before", "norm1"),
            (r"layernorm_after", "norm2"),
            (r"^head\.head\.", "scratch.output_conv."),
            (r"residual_layer", "resConfUnit"),
            (r"convolution", "conv"),
        ):
            name = re.sub(pattern, replacement, name)
        name = re.sub(
            r"neck\.reassemble_stage\.readout_projects\.(\d)",
            lambda found: f"pretrained.act_postprocess{int(found[1]) + 1}.0.project",
            name,
        )
        name = re.sub(
            r"neck\.reassemble_stage\.layers\.(\d)\.(projection|resize)",
            lambda found: f"pretrained.act_postprocess{int(found[1]) + 1}.{3 + (found[2] == 'resize')}",
            name,
        )
        name = re.sub(r"neck\.convs\.(\d)", lambda found: f"scratch.layer{int(found[1]) + 1}_rn", name)
        name = re.sub(
            r"neck\.fusion_stage\.layers\.(\d)", lambda found: f"scratch.refinenet{4 - int(found[1])}", name
        )
        renamed[re.sub(r"(refinenet\d)\.projection", r"\1.out_conv", name)] = value
    for name in [name for name in renamed if ".attention.attention.query." in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return renamed


def test_midas_names_give_the_same(ours, theirs, tmp_path):
    state = midas_names(theirs.state_dict())
    assert "pretrained.model.blocks.0.attn.qkv.weight" in state
    assert "scratch.refinenet4.resConfUnit1.conv1.weight" in state
    state["auxlayer.0.weight"] = torch.zeros(2)
    safetensors.save_file(
        {name: value.clone() for name, value in state.items()}, tmp_path / "midas.safetensors"
    )
    network = DenseTransformer(TINY)
    load_published(network, tmp_path / "midas.safetensors")
    for name, value in ours.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name


def test_the_large_variant_is_dpt_large_tensor_by_tensor():
    with torch.device("meta"):
        large, reference = (
            DPT("large"),
            published(Shape(1024, 16, (5, 12, 18, 24), 24, (256, 512, 1024, 1024), 256, True)),
        )
    shapes = {name: tuple(value.shape) for name, value in reference.state_dict().items()}
    wanted = large.body.state_dict()
    dpt_import._check(wanted, dpt_import._sources(wanted, shapes), shapes)
    unused = sum(
        value.numel() for name, value in reference.named_parameters() if dpt_import._UNUSED.match(name)
    )
    published_count = sum(value.numel() for value in reference.parameters())
    assert sum(value.numel() for value in large.body.parameters()) == published_count - unused
    assert published_count == pytest.approx(343e6, rel=1e-3)  # Ranftl et al. 2021, table 1
    assert reference.config.backbone_out_indices == [4, 11, 17, 23]
    assert large.body.transformer.taps == (5, 12, 18, 24)


def test_the_small_variant_is_small():
    count = sum(value.numel() for value in DPT("small").parameters())
    assert 2e6 < count < 4e6


def test_every_tap_and_the_readout_token_matter():
    torch.manual_seed(0)
    network = DenseTransformer(TINY).eval()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        before = network(image)
        for level in range(4):
            weights = network.reassemble[level].read.weight
            kept = weights.data.clone()
            weights.data[:, TINY.dim :] = 0  # what the readout token adds to the others
            changed = network(image)
            assert (changed - before).abs().max() > 1e-5
            weights.data.copy_(kept)
    features = network.transformer(image)
    assert [tuple(tokens.shape) for tokens in features] == [(1, 17, 32)] * 4


def test_positions_are_interpolated_like_a_picture():
    network = DenseTransformer(TINY).transformer
    ramp = torch.arange(4.0)[:, None].expand(4, 4).reshape(1, 16, 1).expand(-1, -1, 32)
    network.position.data[:, 1:] = ramp
    positions = network._positions(8, 6)
    assert torch.equal(positions[:, 0], network.position[:, 0])
    rows = positions[0, 1:, 0].reshape(8, 6)
    torch.testing.assert_close(rows[:, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    assert torch.equal(rows, rows[:, :1].expand(8, 6))


def test_only_the_large_one_gives_inverse_depth():
    with pytest.raises(InputError, match="no output for inverse depth"):
        DPT("small").inverse_depth(torch.zeros(1, 3, 32, 32))
    with torch.device("meta"):
        large = DPT("large")
        assert large.inverse_depth(torch.zeros(1, 3, 64, 96)).shape == (1, 1, 64, 96)
        with pytest.raises(InputError, match="divisible by 32"):
            large.inverse_depth(torch.zeros(1, 3, 64, 80))


class TestFilesThatAreNotDptLarge:
    """Refused with the first tensor that is wrong, and without a change."""

    def refused(self, tmp_path: Path, state: dict[str, Any], message: str) -> None:
        path = tmp_path / "other.safetensors"
        safetensors.save_file({name: value.clone() for name, value in state.items()}, path)
        network = DenseTransformer(TINY)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(ModelError, match=message):
            load_published(network, path)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_missing(self, theirs, tmp_path):
        state = theirs.state_dict()
        del state["dpt.encoder.layer.2.attention.attention.key.bias"]
        self.refused(
            tmp_path, state, r"lacks dpt\.encoder\.layer\.2\.attention\.attention\.key\.bias \(32,\)"
        )

    def test_another_shape(self, theirs, tmp_path):
        state = theirs.state_dict() | {"neck.convs.1.weight": torch.zeros(16, 12, 1, 1)}
        self.refused(tmp_path, state, r"neck\.convs\.1\.weight is \(16, 12, 1, 1\), not \(16, 12, 3, 3\)")

    def test_more_layers(self, theirs, tmp_path):
        state = theirs.state_dict() | {"dpt.encoder.layer.5.output.dense.bias": torch.zeros(32)}
        self.refused(tmp_path, state, r"holds dpt\.encoder\.layer\.5\.output\.dense\.bias")

    def test_not_finite(self, theirs, tmp_path):
        state = theirs.state_dict() | {"head.head.4.bias": torch.tensor([float("nan")])}
        self.refused(tmp_path, state, r"head\.head\.4\.bias holds values that are NaN")

    def test_a_smaller_network_for_the_large_one(self, path, monkeypatch):
        class Meta(DPT):
            def __init__(self, variant: str) -> None:
                with torch.device("meta"):
                    super().__init__(variant)

        monkeypatch.setattr(dpt_import, "DPT", Meta)
        with pytest.raises(ModelError, match=r"not \(1, 1, 1024\): this is not DPT-Large"):
            import_dpt(path)

    @pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 64])
    def test_no_safetensors(self, tmp_path, content):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match="cannot be read"):
            load_published(DenseTransformer(TINY), tmp_path / "x.safetensors")

    def test_a_pickle(self, theirs, tmp_path):
        torch.save(theirs.state_dict(), tmp_path / "model.pt")
        with pytest.raises(ModelError, match="cannot be read"):
            load_published(DenseTransformer(TINY), tmp_path / "model.pt")

    def test_absent_or_too_large(self, tmp_path, path, monkeypatch):
        with pytest.raises(ModelError, match="cannot be read"):
            load_published(DenseTransformer(TINY), tmp_path / "none.safetensors")
        monkeypatch.setattr(dpt_import, "MAX_BYTES", 100)
        with pytest.raises(ModelError, match="larger"):
            load_published(DenseTransformer(TINY), path)
