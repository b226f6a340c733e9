"""Plans, timing caches and compiled kernels of TensorRT, kept in the user's own folder.

All of them are native code or lead to it, so nothing is read that another user could have written: folder
and file belong to the user and nobody else may write to them. The hash in each file finds damage, and the key
finds files of another GPU, library, driver or model; neither is a signature.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stream.compute.cuda.driver import DeviceInfo
from stream.errors import BackendError, OutputError
from stream.files import atomic_path, cache_folder
from stream.inference.private_folder import check_folder, check_owner

MAX_BYTES = 4 << 30
"""Largest file that is read."""

FOLDER = "engines"
"""Of the user's cache (`stream.files.cache_folder`)."""

_MAGIC = b"prosopon engine cache 1\n"
_MAX_HEADER = 1 << 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that decides what a plan is.

    :ivar library: its module and version.
    :ivar driver: the NVIDIA driver's version.
    :ivar model: sha256 of the ONNX file, in hexadecimal.
    :ivar precision: ``fp32``, ``fp32-exact``, ``fp16`` or ``int8``.
    :ivar max_batch: the free first axis takes 1..max_batch.
    """

    gpu: str
    arch: str
    library: str
    driver: str
    model: str
    precision: str
    max_batch: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file holds.

    :ivar notes: what was learnt when it was made: ``loss`` per output, or why it was ``refused``.
    """

    payload: bytes
    notes: dict[str, Any]


def plan_key(content: bytes, library: str, device: DeviceInfo, precision: str, max_batch: int) -> PlanKey:
    """The key of a model's plan on this machine.

    :param library: module and version of TensorRT.
    """
    digest = hashlib.sha256(content).hexdigest()
    driver = driver_version(device)
    return PlanKey(device.name, device.arch, library, driver, digest, precision, max_batch)


def driver_version(device: DeviceInfo, path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The kernel module's own version where it tells, else the CUDA version that the driver knows."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return device.driver
    return f"{device.driver}, {first}"


def path_of(key: PlanKey, kind: str) -> Path:
    """The file of one ``kind`` (``plan``, ``timing`` or ``runtime``) for a key."""
    digest = hashlib.sha256(json.dumps(asdict(key), sort_keys=True).encode()).hexdigest()
    return cache_folder(FOLDER) / f"{digest[:32]}.{kind}"


def load(key: PlanKey, kind: str) -> Entry | None:
    """What is kept for a key; ``None`` where there is nothing, or nothing that is whole and for this key.

    :raises BackendError: folder or file could have been written by another user.
    """
    folder, path = cache_folder(FOLDER), path_of(key, kind)
    if not folder.exists():
        return None
    check_folder(folder)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackendError(
            f"The engine cache {path} cannot be read ({error.strerror}); remove it."
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        check_owner(path, state, stat.S_ISREG(state.st_mode))
        content = file.read(MAX_BYTES) if state.st_size <= MAX_BYTES else b""
    entry = _unpacked(content, _header_key(key, kind))
    if entry is None:
        logger.warning("%s is damaged or was made for something else; it is built anew.", path)
    return entry


def store(key: PlanKey, kind: str, payload: bytes, notes: Mapping[str, Any] | None = None) -> Path | None:
    """Keep something for a key; ``None`` where it cannot be written, which costs only time at the next start.

    :raises BackendError: the folder could be written to by another user.
    """
    folder, path = cache_folder(FOLDER), path_of(key, kind)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        logger.warning("Engines are not kept: %s cannot be made (%s).", folder, error.strerror)
        return None
    check_folder(folder)
    header = {
        "key": _header_key(key, kind),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "notes": dict(notes or {}),
    }
    try:
        with atomic_path(path) as part:
            part.touch(mode=0o600)
            part.write_bytes(_MAGIC + json.dumps(header).encode() + b"\n" + payload)
    except OutputError as error:
        logger.warning("Engines are not kept: %s", error)
        return None
    return path


def _header_key(key: PlanKey, kind: str) -> dict[str, Any]:
    return {"kind": kind, **asdict(key)}


def _unpacked(content: bytes, key: dict[str, Any]) -> Entry | None:
    """The entry in a file's content, where it is whole and for this key."""
    end = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _MAX_HEADER)
    if not content.startswith(_MAGIC) or end < 0:
        return None
    try:
        header = json.loads(content[len(_MAGIC) : end])
    except ValueError:
        return None
    payload = content[end + 1 :]
    if not isinstance(header, dict) or header.get("key") != key:
        return None
    notes = header.get("notes")
    if header.get("sha256") != hashlib.sha256(payload).hexdigest() or not isinstance(notes, dict):
        return None
    return Entry(payload, notes)
