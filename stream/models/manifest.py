"""Manifests: every weight of the zoo, with what it is for, takes, gives, learnt from and achieves.

There is one manifest for each kind of model (`Kind`): the package's own, which lists what is shipped, and two
in the user's folder, of what was trained here and of what was imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import Field, model_validator

from stream.config import Settings, load_config, parse_settings
from stream.errors import ModelError
from stream.files import atomic_path, data_folder
from stream.inference.engine import TensorSpec

MANIFEST = Path(__file__).parent / "manifest.yaml"
"""The package's own manifest; the files it lists lie in `files/` beside it."""

Kind = Literal["shipped", "trained", "imported"]
"""Where a model comes from: this package, a training run on this machine, somebody else's file."""

KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_SHIPPED_BYTES = 30_000_000
"""What all shipped models may weigh together."""

MAX_BYTES = 8 << 30
"""What one of the user's own may weigh."""

_HEADER = "# Every model in files/. Written by stream.models.manifest.\n"

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
"""A name without folders, so that nothing outside `files/` is ever opened."""


class Tensor(Settings):
    """One input or output as the model file states it; ``null`` where an axis is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class ModelEntry(Settings):
    """One weight.

    :ivar task: what it is for, by the name of its training task or, for none of ours, of its own.
    :ivar bytes: the file's size.
    :ivar licence: of the weights, with the limits their training data puts on them.
    :ivar crop_size: side, in pixels, of the face crop the network takes (`stream.face.crop.crop_image`);
        ``None`` where it takes no crop of a fixed size.
    :ivar data: what it learnt from.
    :ivar accuracy: measured figures; each name says the measure, its unit and on what it was measured. Only
        an imported model may have none.
    :ivar card: the model card's file name, beside the model; only what is shipped must have one.
    """

    name: FileName
    task: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
    file: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0, le=MAX_BYTES)]
    licence: Annotated[str, Field(min_length=1)]
    inputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Field(min_length=1)]
    crop_size: Annotated[int, Field(gt=0)] | None
    data: Annotated[str, Field(min_length=1)]
    accuracy: dict[str, float]
    card: FileName | None = None


class Manifest(Settings):
    """All weights of one kind; names and files occur once, shipped ones stay below `MAX_SHIPPED_BYTES`."""

    kind: Kind = "shipped"
    models: tuple[ModelEntry, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Manifest:
        for key in ("name", "file"):
            values = [getattr(entry, key) for entry in self.models]
            if len(set(values)) < len(values):
                raise ValueError(f"a {key} occurs twice")
        if self.kind != "imported" and not all(entry.accuracy for entry in self.models):
            raise ValueError("a model without a figure of its accuracy is listed")
        if self.kind == "shipped":
            self._check_shipped()
        return self

    def _check_shipped(self) -> None:
        if sum(entry.bytes for entry in self.models) > MAX_SHIPPED_BYTES:
            raise ValueError(f"the models weigh more than {MAX_SHIPPED_BYTES} bytes together")
        if any(entry.card is None for entry in self.models):
            raise ValueError("a model without a card is listed")

    def find(self, name: str) -> ModelEntry:
        """The entry called ``name``.

        :raises ModelError: there is none; the message lists those there are.
        """
        for entry in self.models:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.models) or "none is shipped"
        raise ModelError(f"There is no model {name!r}; known: {known}.")


def manifest_of(kind: Kind) -> Path:
    """Where the manifest of a kind lies; the user's may not be there yet."""
    return MANIFEST if kind == "shipped" else data_folder("models") / kind / "manifest.yaml"


def load_manifest(path: Path = MANIFEST) -> Manifest:
    """Read and check a manifest; one of the user's that is not there lists nothing.

    :raises ConfigError: it is missing, not YAML, or an entry is incomplete or out of range.
    """
    for kind in ("trained", "imported"):
        if path == manifest_of(kind) and not path.exists():
            return Manifest(kind=kind)
    return load_config(path, Manifest)


def update_manifest(
    name: str,
    file: str,
    *,
    task: str,
    licence: str,
    crop_size: int | None,
    data: str,
    accuracy: Mapping[str, float],
    card: str | None,
    path: Path = MANIFEST,
) -> ModelEntry:
    """Add or replace the entry ``name`` (for maintainers, after exporting a model).

    Call it when ``file`` and ``card`` lie in ``files/`` beside the manifest; hash, size, inputs and
    outputs are read from the file itself. The other parameters are `ModelEntry`'s fields.

    :returns: the entry written.
    :raises ModelError: the file or its card is missing, or the file is no ONNX model.
    :raises ConfigError: a value does not fit, or all models together weigh too much.
    :raises OutputError: the manifest cannot be written.
    """
    from stream.inference.backend_onnxruntime import describe
    from stream.inference.backends import read_model

    folder = path.parent / "files"
    content = read_model(folder / file)
    if card is not None and not (folder / card).is_file():
        raise ModelError(f"The model card {folder / card} is missing; write it first.")
    inputs, outputs = describe(content)
    entry = {
        "name": name,
        "task": task,
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
    return add_entry(entry, path)


def add_entry(entry: Mapping[str, object], path: Path) -> ModelEntry:
    """Add an entry to a manifest, in place of one of the same name.

    :raises ConfigError: a value does not fit, or all models together weigh too much.
    :raises OutputError: the manifest cannot be written.
    """
    before = load_manifest(path)
    others = [old.model_dump(mode="json") for old in before.models if old.name != entry["name"]]
    entries = sorted([*others, dict(entry)], key=lambda values: str(values["name"]))
    values = {"kind": before.kind, "models": entries}
    manifest = parse_settings(values, Manifest, str(path))
    _write(path, values)
    return manifest.find(str(entry["name"]))


def remove_model(name: str, path: Path = MANIFEST) -> None:
    """Drop an entry and its file, where there are any (for maintainers).

    :raises ConfigError: the manifest is damaged.
    :raises OutputError: the manifest cannot be written.
    """
    before = load_manifest(path)
    gone = [entry for entry in before.models if entry.name == name]
    if gone:
        kept = [entry.model_dump(mode="json") for entry in before.models if entry.name != name]
        _write(path, {"kind": before.kind, "models": kept})
        (path.parent / "files" / gone[0].file).unlink(missing_ok=True)


def _plain(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}


def _write(path: Path, values: Mapping[str, object]) -> None:
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=110)
    with atomic_path(path) as temporary:
        temporary.write_text(_HEADER + text, encoding="utf-8")
