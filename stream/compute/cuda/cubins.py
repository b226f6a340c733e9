"""Compiled kernels, kept on disk from one run to the next."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from stream.compute.cuda.compiler import OPTIONS, Compiler, compile_kernels, find_compiler, target_for
from stream.compute.cuda.kernel_sources import Sources, read_sources
from stream.errors import OutputError
from stream.files import atomic_path, cache_folder

_log = logging.getLogger(__name__)

FOLDER = "kernels"
"""Of the user's cache (`stream.files.cache_folder`)."""

DIGEST_BYTES = 32


def load_image(family: str, arch: str) -> bytes:
    """The code of kernels/``family``.cu for a GPU of architecture ``arch``, from the cache or compiled now.

    A folder that cannot be read or written, or a damaged file, only means that the compiler runs. Processes
    that compile the same at once write the same file, whole, one after another.

    :returns: a cubin, or PTX text for a GPU that is newer than the compiler.
    :raises BackendError: there is no compiler, or it refuses.
    """
    compiler, sources = find_compiler(), read_sources(family)
    target = target_for(arch, compiler)
    path = cache_folder(FOLDER) / f"{family}-{target}-{cache_key(sources, target, compiler)[:32]}.image"
    image = _read(path)
    if image is None:
        build = compile_kernels(sources, target, compiler)
        for warning in build.warnings:
            _log.warning("%s", warning)
        image = build.image
        _write(path, image)
    return image


def cache_key(sources: Sources, target: str, compiler: Compiler) -> str:
    """A hash of all that decides what a build gives."""
    parts = [compiler.name, compiler.version, target, *OPTIONS, sources.family, sources.text]
    for name, text in sorted(sources.headers.items()):
        parts += [name, text]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    """The image in a file, where its hash says that it is whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    image = data[DIGEST_BYTES:]
    return image if image and hashlib.sha256(image).digest() == data[:DIGEST_BYTES] else None


def _write(path: Path, image: bytes) -> None:
    try:
        with atomic_path(path) as part:
            part.write_bytes(hashlib.sha256(image).digest() + image)
    except OutputError as error:
        _log.info("Compiled kernels are not kept: %s", error)
