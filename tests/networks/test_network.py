"""What all depth networks promise: maps, shapes, options, gradients."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stream.errors import InputError, ModelError  # noqa: E402
from stream.networks import network as contract  # noqa: E402
from stream.networks.dpt import DPT  # noqa: E402
from stream.networks.network import DepthHead, build_network, confidence_of, network_of  # noqa: E402
from stream.networks.unet import AttentionUNet  # noqa: E402

SMALL = [
    ("attention_unet", {"width": 4, "stem": 1}),
    ("attention_unet", {"width": 4, "stem": 2}),
    ("mobile_unet", {}),
    ("dpt", {"variant": "small"}),
]


@pytest.fixture(scope="module", params=SMALL, ids=lambda value: f"{value[0]}{value[1].get('stem', '')}")
def network(request):
    torch.manual_seed(0)
    architecture, options = request.param
    return build_network(architecture, **options)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 3), (4, 2)])
def test_any_multiple_of_the_stride_keeps_its_size(network, rows, columns):
    height, width = rows * network.stride, columns * network.stride
    with torch.inference_mode():
        maps = network.eval()(torch.rand(2, 3, height, width) * 2 - 1)
    assert maps.depth.shape == maps.mask.shape == maps.spread.shape == (2, 1, height, width)
    assert maps.normal.shape == (2, 3, height, width)
    assert all(value.dtype == torch.float32 and bool(torch.isfinite(value).all()) for value in maps)
    torch.testing.assert_close(maps.normal.norm(dim=1), torch.ones(2, height, width))
    assert maps.normal[:, 2].max() < 0


@pytest.mark.parametrize(
    "shape", [(1, 3, 72, 64), (1, 1, 64, 64), (3, 64, 64), (0, 3, 64, 64), (1, 3, 0, 64)]
)
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(InputError, match=f"divisible by {network.stride}"):
        network(torch.zeros(shape))


def test_integers_are_refused(network):
    with pytest.raises(InputError, match="float"):
        network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_gradients_reach_every_parameter(network):
    network.train().zero_grad()
    torch.manual_seed(1)
    maps = network(torch.randn(2, 3, 64, 64))
    # Random weights: normals have unit length, and a plain sum would be blind to some changes.
    sum((value * torch.randn_like(value)).sum() for value in maps).backward()
    dead = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert dead == []


def test_autocast_leaves_the_maps_in_float32(network):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        features = network.eval().features(image)
        maps = network(image)
    assert features.dtype == torch.bfloat16
    assert {value.dtype for value in maps} == {torch.float32}
    with torch.inference_mode():
        torch.testing.assert_close(maps, network.head(features.float()))


def test_options_and_metadata_build_the_same_network(network):
    again = build_network(network.architecture, **network.options())
    again.load_state_dict(network.state_dict())
    metadata = {"architecture": network.architecture, "size": "64", "other": "1"}
    metadata |= {name: str(value) for name, value in network.options().items()}
    with torch.device("meta"):
        described = network_of(metadata)
    assert described.options() == network.options()
    assert {name: value.shape for name, value in described.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }


class TestHead:
    """The maps against the formulas they stand for."""

    def head(self, depth: float, mask: float, spread: float, p: float, q: float) -> contract.DepthMaps:
        head = DepthHead(1)
        torch.nn.init.zeros_(head.maps.weight)
        head.maps.bias.data = torch.tensor([depth, mask, spread, p, q], dtype=torch.float32)
        return head(torch.zeros(1, 1, 1, 1))

    @given(st.tuples(*[st.floats(-20, 20, width=32)] * 5))
    @settings(max_examples=30, deadline=None)
    def test_channels(self, raw):
        depth, mask, _, p, q = raw
        maps = self.head(*raw)
        assert maps.depth.item() == depth
        assert maps.mask.item() == mask
        assert -7 <= maps.spread.item() <= 1
        length = math.sqrt(p * p + q * q + 1)
        expected = torch.tensor([p / length, q / length, -1 / length])
        torch.testing.assert_close(maps.normal.flatten(), expected)

    def test_a_normal_is_across_the_surface(self):
        """A plane with slopes p, q has the directions (1, 0, p) and (0, 1, q)."""
        normal = self.head(0, 0, 0, 0.7, -1.3).normal.flatten()
        assert abs(normal @ torch.tensor([1.0, 0.0, 0.7])) < 1e-6
        assert abs(normal @ torch.tensor([0.0, 1.0, -1.3])) < 1e-6

    def test_spread_starts_at_a_twentieth_and_keeps_its_gradient_at_the_bounds(self):
        assert self.head(0, 0, 0, 0, 0).spread.exp().item() == pytest.approx(math.exp(-3))
        head = DepthHead(1)
        head.maps.bias.data[2] = 12.0
        head(torch.zeros(1, 1, 1, 1)).spread.backward()
        assert 0 < head.maps.bias.grad[2] < 0.02

    def test_confidence_is_one_over_e_at_a_twentieth(self):
        spread = torch.tensor([-7.0, math.log(0.05), 1.0])
        expected = torch.tensor([math.exp(-math.exp(-7) * 20), math.exp(-1), math.exp(-math.e * 20)])
        torch.testing.assert_close(confidence_of(spread), expected)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("attention_unet", {"width": 0}, r"width 0; give 1\.\.256"),
        ("attention_unet", {"width": 257}, "width 257"),
        ("attention_unet", {"width": True}, "width True"),
        ("attention_unet", {"width": 16.0}, "width 16.0"),
        ("attention_unet", {"width": "16"}, "width '16'"),
        ("attention_unet", {"stem": 3}, "give 1 or 2"),
        ("attention_unet", {"depth": 3}, "no option 'depth'; it has: width, stem"),
        ("mobile_unet", {"width": 16}, "it has: none"),
        ("dpt", {"variant": "huge"}, "give large or small"),
        ("dpt", {"variant": ["small"]}, "give large or small"),
    ],
)
def test_wrong_options_are_refused(architecture, options, message):
    with pytest.raises(InputError, match=message):
        build_network(architecture, **options)


def test_classes_refuse_wrong_options_too():
    with pytest.raises(InputError, match="width 0"):
        AttentionUNet(width=0)
    with pytest.raises(InputError, match="variant 'huge'"):
        DPT("huge")


def test_unknown_architectures_and_metadata_are_refused():
    with pytest.raises(ModelError, match="There is no depth network 'vgg'; there are attention_unet, dpt"):
        build_network("vgg")
    with pytest.raises(ModelError, match="no depth network ''"):
        network_of({})
    with pytest.raises(ModelError, match="does not say its stem"):
        network_of({"architecture": "attention_unet", "width": "16"})
    for width in ("", "-1", "1e2", "9" * 40, "sixteen"):
        with pytest.raises(ModelError, match="cannot be built"):
            network_of({"architecture": "attention_unet", "width": width, "stem": "1"})


def test_only_the_mobile_network_has_pretrained_weights():
    with pytest.raises(InputError, match="no pretrained weights for attention_unet"):
        build_network("attention_unet", pretrained=True, width=2)
