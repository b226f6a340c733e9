"""Write a mesh to a file: GLB, PLY or OBJ, in glTF's axes and metres (y up, z towards the viewer)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from stream.errors import OutputError
from stream.files import atomic_path
from stream.mesh.glb import encode_glb
from stream.mesh.obj import write_obj
from stream.mesh.surface import UsedSurface, used_surface
from stream.types import Array, Mesh


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write ``mesh`` in the format of the path's suffix: ``.glb``, ``.ply`` or ``.obj``.

    GLB holds the texture; PLY has it as vertex colours; OBJ gets a ``.mtl`` and a ``.png`` beside it, under
    names that nobody has (`stream.mesh.obj`). All appear whole or not at all; missing folders are made.

    :raises OutputError: the suffix is unknown, the mesh has no triangles or values that are not finite, or
        the file cannot be written.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise OutputError(f"Cannot write a mesh as {path.name!r}; end the name in {', '.join(_WRITERS)}.")
    write(used_surface(mesh), mesh.texture, path)


def write_meshes(meshes: Sequence[Mesh], path: Path) -> list[Path]:
    """Write each mesh that has triangles: the first as ``path``, the others beside it as NAME-2, NAME-3, ...

    :returns: the files.
    :raises OutputError: as `write_mesh`.
    """
    written: list[Path] = []
    for mesh in meshes:
        if len(mesh.triangles) == 0:
            continue
        place = path.with_stem(f"{path.stem}-{len(written) + 1}") if written else path
        write_mesh(mesh, place)
        written.append(place)
    return written


def _write_glb(surface: UsedSurface, texture: Array, path: Path) -> None:
    data = encode_glb(surface.positions, surface.normals, surface.uv, surface.triangles, _png(texture))
    _write_whole(path, data)


def _write_ply(surface: UsedSurface, texture: Array, path: Path) -> None:
    vertex = np.dtype([("position", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
    rows = np.empty(len(surface.positions), vertex)
    rows["position"], rows["normal"] = surface.positions, surface.normals
    rows["colour"] = _colours(texture, surface.uv)
    faces = np.empty(len(surface.triangles), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    faces["count"], faces["corners"] = 3, surface.triangles
    properties = [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    colours = [f"property uchar {name}" for name in ("red", "green", "blue")]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment made by Prosopon; metres, y up, z towards the viewer",
        f"element vertex {len(rows)}",
        *properties,
        *colours,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    _write_whole(path, ("\n".join(header) + "\n").encode("ascii") + rows.tobytes() + faces.tobytes())


def _write_obj(surface: UsedSurface, texture: Array, path: Path) -> None:
    write_obj(surface, _png(texture), path)


def _colours(texture: Array, uv: Array) -> Array:
    """(N, 3) uint8: the texture at uv, bilinear."""
    size = np.array([texture.shape[1], texture.shape[0]], np.float32)
    at = uv * size - np.float32(0.5)
    # cv2.remap takes pictures of at most 32767 pixels a side, so the points go in rows of 1024.
    padded = np.zeros((-(-len(at) // 1024) * 1024, 2), np.float32)
    padded[: len(at)] = at
    grid = padded.reshape(-1, 1024, 2)
    sampled = cv2.remap(texture, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.reshape(-1, 3)[: len(at)]


def _png(texture: Array) -> bytes:
    if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8 or texture.size == 0:
        raise OutputError("The mesh's texture must be a (T, T, 3) uint8 picture.")
    done, data = cv2.imencode(".png", cv2.cvtColor(texture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError("The mesh's texture cannot be stored as PNG.")
    return data.tobytes()


def _write_whole(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


_WRITERS: dict[str, Callable[[UsedSurface, Array, Path], None]] = {
    ".glb": _write_glb,
    ".ply": _write_ply,
    ".obj": _write_obj,
}
