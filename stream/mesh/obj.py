"""Wavefront OBJ, and the names of the two files beside it: its material and its texture."""

from __future__ import annotations

import hashlib
import os
import re
from itertools import count
from pathlib import Path

from stream.files import atomic_path, try_output
from stream.mesh.surface import UsedSurface
from stream.types import Array

MAX_STEM = 100
"""Letters that companions take of their OBJ's name."""


def write_obj(surface: UsedSurface, png: bytes, path: Path) -> None:
    """Write an OBJ with a material and a texture beside it: all three, or none.

    :param png: the texture, an encoded PNG.
    :raises OutputError: a file cannot be written.
    """
    try_output(path)
    material, texture = companions(path)
    lines = [
        _mark(path), "newmtl face", "Ka 1 1 1", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {texture.name}"
    ]  # fmt: skip
    # Each gets its name when all are written: a disk that fills up leaves nothing.
    with atomic_path(path) as mesh, atomic_path(material) as words, atomic_path(texture) as picture:
        picture.write_bytes(png)
        words.write_text("\n".join(lines) + "\n", encoding="ascii")
        mesh.write_text("\n".join(_lines(surface, material.name)) + "\n", encoding="ascii")


def companions(path: Path) -> tuple[Path, Path]:
    """The material and texture of an OBJ: names that nobody has, or that an export of the same name left.

    Many readers split names at spaces and know no other letters than ASCII's.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)
    if stem != path.stem or len(stem) > MAX_STEM:
        digest = hashlib.sha256(os.fsencode(path.stem)).hexdigest()
        stem = f"{stem[:MAX_STEM]}-{digest[:6]}"
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        material, texture = path.with_name(name + ".mtl"), path.with_name(name + "_texture.png")
        taken = os.path.lexists(material) or os.path.lexists(texture)
        if not taken or _is_ours(material, path):
            break
    return material, texture


def _mark(path: Path) -> str:
    return f"# made by Prosopon for {path.name!a}"


def _is_ours(material: Path, path: Path) -> bool:
    """Whether a former export to ``path`` made this material, and so the texture of its name."""
    try:
        with material.open(encoding="ascii", errors="replace") as file:
            return file.readline().rstrip("\n") == _mark(path)
    except OSError:
        return False


def _lines(surface: UsedSurface, material: str) -> list[str]:
    # OBJ's texture origin is the bottom-left corner; its indices count from 1.
    flipped: list[list[float]] = [[u, 1 - v] for u, v in surface.uv.tolist()]
    corners: Array = surface.triangles.astype("int64")[:, :, None].repeat(3, axis=2).reshape(-1, 9) + 1
    return [
        "# made by Prosopon; metres, y up, z towards the viewer",
        f"mtllib {material}",
        *("v {:.9g} {:.9g} {:.9g}".format(*row) for row in surface.positions.tolist()),
        *("vt {:.9g} {:.9g}".format(*row) for row in flipped),
        *("vn {:.9g} {:.9g} {:.9g}".format(*row) for row in surface.normals.tolist()),
        "usemtl face",
        *("f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in corners.tolist()),
    ]
