"""Puts together a GLB file with morph targets and small numbers (KHR_mesh_quantization, sparse accessors)."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream import __version__
from stream.mesh.glb import pack_glb
from stream.types import Array

ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
"""glTF's numbers of NumPy's types."""

TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class GlbWriter:
    """Collects a file's parts; give ``document`` its nodes, meshes and materials, then `encode`.

    :ivar document: glTF's JSON, as plain values; accessors and buffer views are written into it.
    """

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"Prosopon {__version__}"},
            "extensionsUsed": ["KHR_mesh_quantization"],
            "extensionsRequired": ["KHR_mesh_quantization"],
            "accessors": [],
            "bufferViews": [],
        }
        self._body = bytearray()

    def indices(self, triangles: Array) -> int:
        """The accessor of triangles (M, 3), 16 bits each where that is enough."""
        kind = "<u2" if triangles.max() < 65535 else "<u4"
        values = np.ascontiguousarray(triangles.reshape(-1, 1), kind)
        return self._accessor(values, self._view(values.tobytes(), target=ELEMENT_BUFFER))

    def attribute(self, values: Array, normalized: bool = False, bounds: bool = False) -> int:
        """The accessor of one value (C,) a vertex, (N, C) of one of `COMPONENTS`; padded to 4 bytes each.

        :param normalized: integers stand for -1..1 or 0..1.
        :param bounds: store the least and the largest value, as positions need.
        """
        row = values.shape[1] * values.dtype.itemsize
        stride = -(-row // 4) * 4
        padded = np.zeros((len(values), stride), np.uint8)
        padded[:, :row] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), row)
        return self._accessor(
            values, self._view(padded.tobytes(), stride, ARRAY_BUFFER), normalized=normalized, bounds=bounds
        )

    def sparse(self, values: Array, places: int, chosen: Array, normalized: bool = False) -> int:
        """The accessor of values (N, C) that are 0 but at ``chosen`` (n,), which `places` has stored."""
        kept = np.ascontiguousarray(values[chosen])
        stored = {
            "count": len(chosen),
            "indices": {"bufferView": places, "componentType": COMPONENTS["u2"]},
            "values": {"bufferView": self._view(kept.tobytes())},
        }
        return self._accessor(values, None, normalized=normalized, bounds=not normalized, sparse=stored)

    def places(self, chosen: Array) -> int:
        """The buffer view of vertex indices (n,) for `sparse`, which several accessors may share."""
        return self._view(np.ascontiguousarray(chosen, "<u2").tobytes())

    def encode(self) -> bytes:
        """The file."""
        self.document["buffers"] = [{"byteLength": len(self._body)}]
        return pack_glb(self.document, bytes(self._body))

    def _view(self, data: bytes, stride: int | None = None, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._body), "byteLength": len(data)}
        view |= {"byteStride": stride} if stride is not None else {}
        view |= {"target": target} if target is not None else {}
        self.document["bufferViews"].append(view)
        self._body += data + bytes(-len(data) % 4)
        return len(self.document["bufferViews"]) - 1

    def _accessor(
        self,
        values: Array,
        view: int | None,
        normalized: bool = False,
        bounds: bool = False,
        sparse: dict[str, Any] | None = None,
    ) -> int:
        accessor: dict[str, Any] = {
            "componentType": COMPONENTS[values.dtype.str[1:]],
            "count": len(values),
            "type": TYPES[values.shape[1]],
        }
        accessor |= {"bufferView": view} if view is not None else {}
        accessor |= {"normalized": True} if normalized else {}
        accessor |= {"sparse": sparse} if sparse is not None else {}
        if bounds:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1
