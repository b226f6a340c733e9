"""The model store: from a model's name to a file whose content is what its manifest says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stream.errors import ModelError
from stream.files import atomic_path
from stream.models.manifest import (
    KINDS,
    Kind,
    Manifest,
    ModelEntry,
    add_entry,
    load_manifest,
    manifest_of,
)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `prosopon models`.

    :ivar kind: where the model comes from.
    :ivar why: what is wrong; empty where the model is ready.
    """

    entry: ModelEntry
    ready: bool
    why: str
    kind: Kind = "shipped"


def open_model(name: str, manifest: Path | None = None) -> Path:
    """Path of the model's file, its content checked against the manifest (once per process and version).

    :param manifest: where to look; without it among what is shipped, trained here and imported.
    :raises ModelError: the name is unknown, or the file is missing, unreadable, or not the one listed.
    :raises ConfigError: a manifest is damaged.
    """
    found = _manifests(manifest)
    for path, listed in found:
        if any(entry.name == name for entry in listed.models):
            return _checked_path(listed.find(name), path)
    known = ", ".join(entry.name for _, listed in found for entry in listed.models) or "none"
    raise ModelError(f"There is no model {name!r}; known: {known}.")


def list_models(manifest: Path | None = None) -> list[ModelStatus]:
    """State of every model in the manifest, or in all of them.

    :raises ConfigError: a manifest is damaged.
    """
    found = _manifests(manifest)
    return [_status(entry, path, listed.kind) for path, listed in found for entry in listed.models]


def add_file(kind: Kind, source: Path, entry: Mapping[str, object]) -> ModelEntry:
    """Copy a file into the user's store and list it, in place of an older one of the same name.

    :param kind: of the user's: ``trained`` or ``imported``.
    :param entry: the fields of `ModelEntry` but for ``sha256`` and ``bytes``, which are the file's.
    :raises ModelError: the name is that of a model of another kind, or the file cannot be read.
    :raises ConfigError: a value does not fit.
    :raises OutputError: the store cannot be written.
    """
    name, manifest = str(entry["name"]), manifest_of(kind)
    for state in list_models():
        if state.entry.name == name and state.kind != kind:
            raise ModelError(f"There is a model {name!r} already ({state.kind}); give this one another name.")
    try:
        facts = {"bytes": source.stat().st_size, "sha256": _sha256(source, source.stat().st_mtime_ns)}
        with atomic_path(manifest.parent / "files" / str(entry["file"])) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise ModelError(f"{source} cannot be read: {error.strerror}.") from error
    return add_entry({**entry, **facts}, manifest)


def _manifests(only: Path | None) -> list[tuple[Path, Manifest]]:
    paths = [manifest_of(kind) for kind in KINDS] if only is None else [only]
    return [(path, load_manifest(path)) for path in paths]


def _status(entry: ModelEntry, manifest: Path, kind: Kind) -> ModelStatus:
    try:
        _checked_path(entry, manifest)
    except ModelError as error:
        return ModelStatus(entry, False, str(error), kind)
    return ModelStatus(entry, True, "", kind)


def _checked_path(entry: ModelEntry, manifest: Path) -> Path:
    path = manifest.parent / "files" / entry.file
    try:
        state = path.stat()
        # The size is compared first: nothing larger than the manifest says is ever read.
        if state.st_size == entry.bytes and _sha256(path, state.st_mtime_ns) == entry.sha256:
            return path
    except OSError as error:
        raise ModelError(
            f"The model {entry.name!r} cannot be read from {path} ({error.strerror}); {_remedy(manifest)}."
        ) from error
    raise ModelError(
        f"The model {entry.name!r} in {path} is not the file that its manifest lists (it is damaged or was "
        f"changed); {_remedy(manifest)}."
    )


def _remedy(manifest: Path) -> str:
    """What brings a file back."""
    own = manifest in (manifest_of("trained"), manifest_of("imported"))
    return "export or import it again" if own else "install prosopon again"


@lru_cache(maxsize=64)
def _sha256(path: Path, modified: int) -> str:
    """Hash of a file; ``modified`` makes a changed file another question."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
