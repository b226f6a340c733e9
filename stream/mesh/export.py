"""Write a mesh to a file: GLB, PLY or OBJ, in glTF's axes and metres (y up, z towards the viewer)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stream.errors import OutputError
from stream.files import atomic_path
from stream.geometry import camera_to_gltf, camera_to_gltf_direction
from stream.mesh.glb import encode_glb
from stream.types import Array, Mesh


@dataclass(frozen=True, slots=True)
class UsedSurface:
    """A mesh as files want it: only used vertices, glTF axes.

    :ivar positions: (N, 3) float32 metres.
    :ivar normals: (N, 3) float32 unit vectors.
    :ivar uv: (N, 2) float32, origin at the texture's top-left corner.
    :ivar triangles: (M, 3) uint32, counter-clockwise from outside.
    """

    positions: Array
    normals: Array
    uv: Array
    triangles: Array


def write_mesh(mesh: Mesh, path: Path) -> None:
    """Write ``mesh`` in the format of the path's suffix: ``.glb``, ``.ply`` or ``.obj``.

    GLB holds the texture; PLY has it as vertex colours; OBJ gets a ``.mtl`` and a ``.png`` beside it. Each
    file appears whole or not at all; missing folders are made.

    :raises OutputError: the suffix is unknown, the mesh has no triangles or values that are not finite, or
        the file cannot be written.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise OutputError(f"Cannot write a mesh as {path.name!r}; end the name in {', '.join(_WRITERS)}.")
    write(used_surface(mesh), mesh.texture, path)


def used_surface(mesh: Mesh) -> UsedSurface:
    """Drop the vertices no triangle uses and turn the rest to glTF's axes.

    :raises OutputError: there are no triangles, or they name missing vertices, or values are not finite.
    """
    if len(mesh.triangles) == 0:
        raise OutputError("The mesh is empty, so there is nothing to write; is a face in the picture?")
    if mesh.triangles.min() < 0 or mesh.triangles.max() >= len(mesh.vertices):
        raise OutputError("The mesh's triangles name vertices that it does not have, so it was not written.")
    used, triangles = np.unique(mesh.triangles, return_inverse=True)
    surface = UsedSurface(
        positions=np.ascontiguousarray(camera_to_gltf(mesh.vertices[used]), np.float32),
        normals=np.ascontiguousarray(camera_to_gltf_direction(mesh.normals[used]), np.float32),
        uv=np.ascontiguousarray(mesh.uv[used], np.float32),
        triangles=triangles.reshape(-1, 3).astype(np.uint32),
    )
    if not all(np.isfinite(a).all() for a in (surface.positions, surface.normals, surface.uv)):
        raise OutputError("The mesh holds values that are not finite, so it was not written.")
    return surface


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
    # Many readers split names at spaces, so the two companions get plain ones.
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", path.stem)
    png, mtl = path.with_name(stem + "_texture.png"), path.with_name(stem + ".mtl")
    _write_whole(png, _png(texture))
    material = ["newmtl face", "Ka 1 1 1", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {png.name}"]
    _write_whole(mtl, ("\n".join(material) + "\n").encode("ascii"))
    # OBJ's texture origin is the bottom-left corner; its indices count from 1.
    flipped = surface.uv * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)
    corners = surface.triangles.astype(np.int64)[:, :, None].repeat(3, axis=2).reshape(-1, 9) + 1
    lines = [
        "# made by Prosopon; metres, y up, z towards the viewer",
        f"mtllib {mtl.name}",
        *("v {:.9g} {:.9g} {:.9g}".format(*row) for row in surface.positions.tolist()),
        *("vt {:.9g} {:.9g}".format(*row) for row in flipped.tolist()),
        *("vn {:.9g} {:.9g} {:.9g}".format(*row) for row in surface.normals.tolist()),
        "usemtl face",
        *("f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in corners.tolist()),
    ]
    _write_whole(path, ("\n".join(lines) + "\n").encode("ascii"))


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
