"""Reads the numbers of a GLB file: accessors, also quantised and sparse ones."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from stream.errors import InputError
from stream.mesh.glb_writer import COMPONENTS, TYPES
from stream.types import Array

_HEADER = struct.Struct("<III")
_CHUNK = struct.Struct("<II")
_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942

_KINDS = {number: np.dtype("<" + name) for name, number in COMPONENTS.items()}
_WIDTHS = {name: width for width, name in TYPES.items()}

MOST_VALUES = 10_000_000
"""An accessor that claims more, which a few bytes can, is refused."""


class GlbFile:
    """One GLB file in memory.

    :ivar document: glTF's JSON.
    :raises InputError: it is no GLB 2.0 file, or it is cut off.
    """

    def __init__(self, data: bytes) -> None:
        try:
            magic, version, length = _HEADER.unpack_from(data)
            size, kind = _CHUNK.unpack_from(data, _HEADER.size)
            begin = _HEADER.size + _CHUNK.size
            self.document: dict[str, Any] = json.loads(data[begin : begin + size])
            body_size, body_kind = _CHUNK.unpack_from(data, begin + size)
        except (struct.error, ValueError, RecursionError) as error:
            raise InputError(f"This is no GLB file that can be read ({error}).") from error
        self._body = data[begin + size + _CHUNK.size :][:body_size]
        sound = (magic, version, kind, body_kind) == (_MAGIC, _VERSION, _JSON, _BIN)
        if (
            not sound
            or length > len(data)
            or len(self._body) < body_size
            or not isinstance(self.document, dict)
        ):
            raise InputError("This is no whole GLB file of version 2.")

    def accessor(self, index: int) -> Array:
        """The values (N, C) of an accessor, float32 where they are normalised integers.

        :raises InputError: the file holds no such accessor, or not all of it.
        """
        try:
            return self._values(self.document["accessors"][index])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(f"The GLB file's accessor {index} cannot be read ({error}).") from error

    def _values(self, accessor: dict[str, Any]) -> Array:
        kind, width = _KINDS[accessor["componentType"]], _WIDTHS[accessor["type"]]
        values = self._plain(accessor, kind, width, accessor["count"])
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            places = sparse["indices"]
            chosen = self._plain(places, _KINDS[places["componentType"]], 1, sparse["count"])
            values[chosen[:, 0]] = self._plain(sparse["values"], kind, width, sparse["count"])
        if not accessor.get("normalized", False):
            return values
        return np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1.0)

    def _plain(self, where: dict[str, Any], kind: np.dtype[Any], width: int, count: int) -> Array:
        """(count, width) values of one buffer view, zeros where there is none."""
        if not 1 <= count <= MOST_VALUES:
            raise ValueError(f"it counts {count} values")
        if "bufferView" not in where:
            return np.zeros((count, width), kind)
        view = self.document["bufferViews"][where["bufferView"]]
        row = kind.itemsize * width
        stride = view.get("byteStride", row)
        begin = view.get("byteOffset", 0) + where.get("byteOffset", 0)
        if begin < 0 or stride < row or begin + (count - 1) * stride + row > len(self._body):
            raise ValueError("it reaches beyond the file")
        rows: Array = np.ndarray((count, row), np.uint8, self._body, begin, (stride, 1))
        return np.ascontiguousarray(rows).view(kind)
