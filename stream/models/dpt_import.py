"""Published weights of DPT-Large, as MiDaS v3 and the ``transformers`` library name them, for `DPT`.

Only safetensors files are read, which hold tensors and nothing that could run. Every name and shape is
checked before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from stream.errors import MissingExtraError, ModelError
from stream.networks.dpt import DPT, DenseTransformer

try:
    import torch
    from torch import Tensor
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("torch", "train") from error
try:
    from safetensors import SafetensorError, safe_open
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("safetensors", "train") from error

MAX_BYTES = 2 << 30
"""Larger than DPT-Large in float32 (1.4 GB)."""

Sources = Mapping[str, tuple[str, ...]]
"""Which tensors of a file, one under the other, make a tensor of ours."""

_TRANSFORMERS_LAYER = {
    "first_norm": ("layernorm_before",),
    "attention.qkv": tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    "attention.project": ("attention.output.dense",),
    "second_norm": ("layernorm_after",),
    "widen": ("intermediate.dense",),
    "narrow": ("output.dense",),
}
_MIDAS_LAYER = {
    "first_norm": ("norm1",),
    "attention.qkv": ("attn.qkv",),
    "attention.project": ("attn.proj",),
    "second_norm": ("norm2",),
    "widen": ("mlp.fc1",),
    "narrow": ("mlp.fc2",),
}
_UNUSED = re.compile(
    # The transformer's last norm and classifier, training's auxiliary head, and the unit for the map that
    # the coarsest fusion block does not get.
    r"dpt\.(layernorm|pooler)\.|neck\.fusion_stage\.layers\.0\.residual_layer1\."
    r"|pretrained\.model\.(norm|head|fc_norm)\.|auxlayer\.|scratch\.refinenet4\.resConfUnit1\."
)


def import_dpt(path: Path) -> DPT:
    """The large DPT with published weights.

    Its ``inverse_depth`` then gives what they were trained for; the head for depth, mask, spread and
    normals starts with random weights, to be trained.

    :param path: a safetensors file with the names of ``transformers.DPTForDepthEstimation`` or of MiDaS.
    :raises ModelError: it is no such file, or holds another network; the message names the first tensor
        that is missing, in excess, or of another shape.
    """
    network = DPT("large")
    load_published(network.body, path)
    return network


def load_published(body: DenseTransformer, path: Path) -> None:
    """Fill a transformer with an output for inverse depth from a file; see `import_dpt`.

    :raises ModelError: as `import_dpt`; ``body`` is as it was.
    """
    wanted = body.state_dict()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than DPT-Large's weights are (2 GiB).")
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            sources = _sources(wanted, shapes)
            _check(wanted, sources, shapes)
            tensors = {
                name: torch.cat([file.get_tensor(part) for part in parts]).float()
                for name, parts in sources.items()
            }
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as a safetensors file ({error}).") from error
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"{sources[name][0]} holds values that are NaN or infinite; get the file again.")
    body.load_state_dict(tensors)


def _sources(wanted: Collection[str], stored: Collection[str]) -> Sources:
    """Where each of our tensors comes from, by the naming that the file uses."""
    midas = any(name.startswith("pretrained.") for name in stored)
    modules = {name.rsplit(".", 1)[0] for name in wanted}
    levels = len({name.split(".")[1] for name in modules if name.startswith("reassemble.")})
    layers = len({name.split(".")[2] for name in modules if name.startswith("transformer.layers.")})
    naming = dict(_midas(levels, layers) if midas else _transformers(levels, layers))
    sources = {}
    for name in wanted:
        module, _, kind = name.rpartition(".")
        if name in naming:
            sources[name] = naming[name]
        else:
            sources[name] = tuple(f"{part}.{kind}" for part in naming[module])
    return sources


def _transformers(levels: int, layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    embeddings = "dpt.embeddings"
    yield "transformer.readout", (f"{embeddings}.cls_token",)
    yield "transformer.position", (f"{embeddings}.position_embeddings",)
    yield "transformer.patch", (f"{embeddings}.patch_embeddings.projection",)
    for index in range(layers):
        for ours, parts in _TRANSFORMERS_LAYER.items():
            theirs = tuple(f"dpt.encoder.layer.{index}.{part}" for part in parts)
            yield f"transformer.layers.{index}.{ours}", theirs
    for level in range(levels):
        stage = "neck.reassemble_stage"
        yield f"reassemble.{level}.read", (f"{stage}.readout_projects.{level}.0",)
        yield f"reassemble.{level}.project", (f"{stage}.layers.{level}.projection",)
        yield f"reassemble.{level}.resize", (f"{stage}.layers.{level}.resize",)
        yield f"reassemble.{level}.join", (f"neck.convs.{level}",)
        block = f"neck.fusion_stage.layers.{levels - 1 - level}"
        for ours, unit in (("adapt", "residual_layer1"), ("refine", "residual_layer2")):
            yield f"fusion.{level}.{ours}.first", (f"{block}.{unit}.convolution1",)
            yield f"fusion.{level}.{ours}.second", (f"{block}.{unit}.convolution2",)
        yield f"fusion.{level}.project", (f"{block}.projection",)
    yield from (("narrow", ("head.head.0",)), ("finish", ("head.head.2",)), ("monocular", ("head.head.4",)))


def _midas(levels: int, layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    model = "pretrained.model"
    yield "transformer.readout", (f"{model}.cls_token",)
    yield "transformer.position", (f"{model}.pos_embed",)
    yield "transformer.patch", (f"{model}.patch_embed.proj",)
    for index in range(layers):
        for ours, parts in _MIDAS_LAYER.items():
            theirs = tuple(f"{model}.blocks.{index}.{part}" for part in parts)
            yield f"transformer.layers.{index}.{ours}", theirs
    for level in range(levels):
        stage = f"pretrained.act_postprocess{level + 1}"
        yield f"reassemble.{level}.read", (f"{stage}.0.project.0",)
        yield f"reassemble.{level}.project", (f"{stage}.3",)
        yield f"reassemble.{level}.resize", (f"{stage}.4",)
        yield f"reassemble.{level}.join", (f"scratch.layer{level + 1}_rn",)
        block = f"scratch.refinenet{level + 1}"
        for ours, unit in (("adapt", "resConfUnit1"), ("refine", "resConfUnit2")):
            yield f"fusion.{level}.{ours}.first", (f"{block}.{unit}.conv1",)
            yield f"fusion.{level}.{ours}.second", (f"{block}.{unit}.conv2",)
        yield f"fusion.{level}.project", (f"{block}.out_conv",)
    output = "scratch.output_conv"
    yield from (("narrow", (f"{output}.0",)), ("finish", (f"{output}.2",)), ("monocular", (f"{output}.4",)))


def _check(wanted: Mapping[str, Tensor], sources: Sources, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """:raises ModelError: the file is not exactly the network."""
    for name, parts in sources.items():
        shape = tuple(wanted[name].shape)
        expected = (shape[0] // len(parts), *shape[1:])
        for part in parts:
            if part not in shapes:
                raise ModelError(
                    f"The file lacks {part} {expected}; it holds another network than DPT-Large."
                )
            if shapes[part] != expected:
                raise ModelError(f"{part} is {shapes[part]}, not {expected}: this is not DPT-Large.")
    used = {part for parts in sources.values() for part in parts}
    for name in shapes:
        if name not in used and not _UNUSED.match(name):
            raise ModelError(f"The file holds {name}, which DPT-Large has no place for.")
