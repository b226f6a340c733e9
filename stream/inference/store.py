"""The model store: from a model's name to a file whose content is what the manifest says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stream.errors import ModelError
from stream.inference.manifest import MANIFEST, ModelEntry, load_manifest


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `prosopon models`.

    :ivar why: what is wrong; empty where the model is ready.
    """

    entry: ModelEntry
    ready: bool
    why: str


def open_model(name: str, manifest: Path = MANIFEST) -> Path:
    """Path of the model's file, its content checked against the manifest (once per process and version).

    :raises ModelError: the name is unknown, or the file is missing, unreadable, or not the one shipped.
    :raises ConfigError: the manifest itself is damaged.
    """
    return _checked_path(load_manifest(manifest).find(name), manifest)


def list_models(manifest: Path = MANIFEST) -> list[ModelStatus]:
    """State of every model in the manifest.

    :raises ConfigError: the manifest itself is damaged.
    """
    return [_status(entry, manifest) for entry in load_manifest(manifest).models]


def _status(entry: ModelEntry, manifest: Path) -> ModelStatus:
    try:
        _checked_path(entry, manifest)
    except ModelError as error:
        return ModelStatus(entry, False, str(error))
    return ModelStatus(entry, True, "")


def _checked_path(entry: ModelEntry, manifest: Path) -> Path:
    path = manifest.parent / "models" / entry.file
    try:
        state = path.stat()
        # The size is compared first: nothing larger than the manifest says is ever read.
        if state.st_size == entry.bytes and _sha256(path, state.st_mtime_ns) == entry.sha256:
            return path
    except OSError as error:
        raise ModelError(
            f"The model {entry.name!r} cannot be read from {path} ({error.strerror}); install prosopon again."
        ) from error
    raise ModelError(
        f"The model {entry.name!r} in {path} is not the file that was shipped (it is damaged or was "
        "changed); install prosopon again."
    )


@lru_cache(maxsize=64)
def _sha256(path: Path, modified: int) -> str:
    """Hash of a file; ``modified`` makes a changed file another question."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
