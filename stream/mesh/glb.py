"""Binary glTF 2.0 with one textured mesh (Khronos glTF 2.0 specification, sections 3.6 and 4.4)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from stream import __version__
from stream.types import Array

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_FLOAT, _UINT32 = 5126, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_TRIANGLES, _LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 4, 9729, 9987, 33071


def encode_glb(positions: Array, normals: Array, uv: Array, triangles: Array, png: bytes) -> bytes:
    """One GLB file as bytes.

    The material is unlit (KHR_materials_unlit), since the light is in the photographed texture already;
    viewers without that extension see a rough, non-metallic one. It has two sides, since a face is a shell.

    :param positions: (N, 3) float32 metres, y up, z towards the viewer.
    :param normals: (N, 3) float32 unit vectors.
    :param uv: (N, 2) float32, origin at the texture's top-left corner.
    :param triangles: (M, 3) uint32, counter-clockwise from outside.
    :param png: the texture, an encoded PNG.
    """
    parts = [np.ascontiguousarray(a, "<f4").tobytes() for a in (positions, normals, uv)]
    parts += [np.ascontiguousarray(triangles, "<u4").tobytes(), png]
    targets = [_VERTEX_BUFFER] * 3 + [_INDEX_BUFFER, None]
    views: list[dict[str, Any]] = []
    body = b""
    for part, target in zip(parts, targets, strict=True):
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(body), "byteLength": len(part)}
        views.append(view if target is None else view | {"target": target})
        body += part + bytes(-len(part) % 4)
    return pack_glb(_document(positions, len(triangles), views, len(body)), body)


def pack_glb(document: dict[str, Any], body: bytes) -> bytes:
    """A GLB file of its JSON chunk and its binary one, whose length is a multiple of 4."""
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(body)
    header = struct.pack("<III", _MAGIC, _VERSION, length)
    return b"".join(
        (header, struct.pack("<II", len(text), _JSON), text, struct.pack("<II", len(body), _BIN), body)
    )


def _document(
    positions: Array, triangles: int, views: list[dict[str, Any]], body_length: int
) -> dict[str, Any]:
    """The JSON chunk; buffer views are positions, normals, uv, indices and the picture, in this order."""
    count = len(positions)
    bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    accessors: list[dict[str, Any]] = [
        {"bufferView": 0, "componentType": _FLOAT, "count": count, "type": "VEC3", **bounds},
        {"bufferView": 1, "componentType": _FLOAT, "count": count, "type": "VEC3"},
        {"bufferView": 2, "componentType": _FLOAT, "count": count, "type": "VEC2"},
        {"bufferView": 3, "componentType": _UINT32, "count": 3 * triangles, "type": "SCALAR"},
    ]
    primitive = {
        "attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2},
        "indices": 3,
        "material": 0,
        "mode": _TRIANGLES,
    }
    material = {
        "name": "face",
        "doubleSided": True,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        },
        "extensions": {"KHR_materials_unlit": {}},
    }
    sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": _CLAMP, "wrapT": _CLAMP}
    return {
        "asset": {"version": "2.0", "generator": f"Prosopon {__version__}"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "face", "mesh": 0}],
        "meshes": [{"name": "face", "primitives": [primitive]}],
        "materials": [material],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [sampler],
        "images": [{"mimeType": "image/png", "bufferView": 4}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": body_length}],
    }
