"""The manifest: every weight that is shipped, with what it takes, gives, learnt from and achieves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, model_validator

from stream.config import Settings, load_config, parse_settings
from stream.errors import ModelError
from stream.files import atomic_path
from stream.inference.engine import TensorSpec

MANIFEST = Path(__file__).parent / "manifest.yaml"
"""The package's own manifest; the files it lists lie in `models/` beside it."""

MAX_SHIPPED_BYTES = 20_000_000
"""What all shipped models may weigh together."""

_HEADER = "# Every model in models/. Written by stream.inference.manifest.update_manifest.\n"

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""A name without folders, so that nothing outside `models/` is ever opened."""


class Tensor(Settings):
    """One input or output as the model file states it; ``null`` where an axis is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class ModelEntry(Settings):
    """One shipped weight.

    :ivar bytes: the file's size.
    :ivar licence: of the weights, with the limits their training data puts on them.
    :ivar crop_size: side, in pixels, of the face crop the network takes (`stream.face.crop.crop_image`).
    :ivar data: what it learnt from.
    :ivar accuracy: measured figures; each name says the measure, its unit and on what it was measured.
    :ivar card: the model card's file name, beside the model.
    """

    name: FileName
    file: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0, le=MAX_SHIPPED_BYTES)]
    licence: Annotated[str, Field(min_length=1)]
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    crop_size: Annotated[int, Field(gt=0)]
    data: Annotated[str, Field(min_length=1)]
    accuracy: Annotated[dict[str, float], Field(min_length=1)]
    card: FileName


class Manifest(Settings):
    """All shipped weights; names and files occur once, and together they stay below `MAX_SHIPPED_BYTES`."""

    models: tuple[ModelEntry, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        for key in ("name", "file"):
            values = [getattr(entry, key) for entry in self.models]
            if len(set(values)) < len(values):
                raise ValueError(f"a {key} occurs twice")
        if sum(entry.bytes for entry in self.models) > MAX_SHIPPED_BYTES:
            raise ValueError(f"the models weigh more than {MAX_SHIPPED_BYTES} bytes together")
        return self

    def find(self, name: str) -> ModelEntry:
        """The entry called ``name``.

        :raises ModelError: there is none; the message lists those there are.
        """
        for entry in self.models:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.models) or "none is shipped"
        raise ModelError(f"There is no model {name!r}; known: {known}.")


def load_manifest(path: Path = MANIFEST) -> Manifest:
    """Read and check a manifest.

    :raises ConfigError: it is missing, not YAML, or an entry is incomplete or out of range.
    """
    return load_config(path, Manifest)


def update_manifest(
    name: str,
    file: str,
    *,
    licence: str,
    crop_size: int,
    data: str,
    accuracy: Mapping[str, float],
    card: str,
    path: Path = MANIFEST,
) -> ModelEntry:
    """Add or replace the entry ``name`` (for maintainers, after exporting a model).

    Call it when ``file`` and ``card`` lie in ``models/`` beside the manifest; hash, size, inputs and
    outputs are read from the file itself. The other parameters are `ModelEntry`'s fields.

    :returns: the entry written.
    :raises ModelError: the file or its card is missing, or the file is no ONNX model.
    :raises ConfigError: a value does not fit, or all models together weigh too much.
    :raises OutputError: the manifest cannot be written.
    """
    from stream.inference.backend_onnxruntime import describe
    from stream.inference.backends import read_model

    folder = path.parent / "models"
    content = read_model(folder / file)
    if not (folder / card).is_file():
        raise ModelError(f"The model card {folder / card} is missing; write it first.")
    inputs, outputs = describe(content)
    entry = {
        "name": name,
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "licence": licence,
        "inputs": [_plain(spec) for spec in inputs],
        "outputs": [_plain(spec) for spec in outputs],
        "crop_size": crop_size,
        "data": data,
        "accuracy": {key: float(value) for key, value in accuracy.items()},
        "card": card,
    }
    others = [old.model_dump(mode="json") for old in load_manifest(path).models if old.name != name]
    entries = sorted([*others, entry], key=lambda values: str(values["name"]))
    manifest = parse_settings({"models": entries}, Manifest, str(path))
    _write(path, {"models": entries})
    return manifest.find(name)


def remove_model(name: str, path: Path = MANIFEST) -> None:
    """Drop an entry and its file, where there are any (for maintainers).

    :raises ConfigError: the manifest is damaged.
    :raises OutputError: the manifest cannot be written.
    """
    models = load_manifest(path).models
    gone = [entry for entry in models if entry.name == name]
    if gone:
        _write(path, {"models": [entry.model_dump(mode="json") for entry in models if entry.name != name]})
        (path.parent / "models" / gone[0].file).unlink(missing_ok=True)


def _plain(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}


def _write(path: Path, values: Mapping[str, object]) -> None:
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=110)
    with atomic_path(path) as temporary:
        temporary.write_text(_HEADER + text, encoding="utf-8")
