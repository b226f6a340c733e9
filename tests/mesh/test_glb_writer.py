"""GLB files with morph targets, read back by ourselves and by other libraries."""

import json
import struct
from io import BytesIO
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh.glb_reader import GlbFile

from stream.errors import InputError
from stream.mesh.glb_writer import GlbWriter

POSITIONS = np.array([[0, 0, 0], [1000, 0, 0], [0, 2000, 0], [0, 0, -3000]], "<i2")
NORMALS = np.array([[127, 0, 0], [0, 127, 0], [0, 0, 127], [-127, 0, 0]], "i1")
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.uint32)
MOVES = np.array([[0, 0, 0], [0, 50, 0], [0, 0, 0], [7, 0, -9]], "<i2")


def sample_file() -> bytes:
    writer = GlbWriter()
    chosen = np.array([1, 3])
    places = writer.places(chosen)
    primitive: dict[str, Any] = {
        "attributes": {
            "POSITION": writer.attribute(POSITIONS, bounds=True),
            "NORMAL": writer.attribute(NORMALS, normalized=True),
        },
        "indices": writer.indices(TRIANGLES),
        "targets": [
            {
                "POSITION": writer.sparse(MOVES, places, chosen),
                "NORMAL": writer.sparse(MOVES.astype("i1"), places, chosen, normalized=True),
            }
        ],
    }
    writer.document |= {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [0.001] * 3}],
        "meshes": [{"primitives": [primitive], "weights": [0.0], "extras": {"targetNames": ["jawOpen"]}}],
    }
    return writer.encode()


def test_numbers_come_back() -> None:
    file = GlbFile(sample_file())
    primitive = file.document["meshes"][0]["primitives"][0]
    np.testing.assert_array_equal(file.accessor(primitive["attributes"]["POSITION"]), POSITIONS)
    np.testing.assert_allclose(file.accessor(primitive["attributes"]["NORMAL"]), NORMALS / 127, atol=1e-6)
    np.testing.assert_array_equal(file.accessor(primitive["indices"]).reshape(-1, 3), TRIANGLES)
    np.testing.assert_array_equal(file.accessor(primitive["targets"][0]["POSITION"]), MOVES)
    np.testing.assert_allclose(file.accessor(primitive["targets"][0]["NORMAL"]), MOVES / 127, atol=1e-6)


def test_other_libraries_read_it() -> None:
    data = sample_file()
    scene = trimesh.load(BytesIO(data), file_type="glb")
    np.testing.assert_allclose(scene.bounds, [[0, 0, -3], [1, 2, 0]], atol=1e-6)
    file = pygltflib.GLTF2.load_from_bytes(data)
    assert file.extensionsRequired == ["KHR_mesh_quantization"]
    target = file.accessors[file.meshes[0].primitives[0].targets[0]["POSITION"]]
    assert target.sparse.count == 2
    assert (target.min, target.max) == ([0, 0, -9], [7, 50, 0])
    for view in file.bufferViews:
        assert view.byteOffset % 4 == 0
        assert view.byteOffset + view.byteLength <= file.buffers[0].byteLength


def test_what_is_no_file_is_refused() -> None:
    data = sample_file()
    for damaged in (b"", b"glTF", data[:50], data[:-8], b"XXXX" + data[4:], data[:20] + b"[]" + data[22:]):
        with pytest.raises(InputError):
            GlbFile(damaged)


@pytest.mark.parametrize("index", [99, 2])
def test_numbers_that_are_not_there_are_refused(index: int) -> None:
    data = sample_file()
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    document["accessors"][2]["count"] = 10**6
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    length = len(data) + len(text) - size
    other = struct.pack("<IIIII", 0x46546C67, 2, length, len(text), 0x4E4F534A) + text + data[20 + size :]
    with pytest.raises(InputError, match=f"accessor {index}"):
        GlbFile(other).accessor(index)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=6))
def test_damage_is_an_input_error_or_harmless(place: int, replacement: bytes) -> None:
    data = sample_file()
    place %= len(data)
    damaged = data[:place] + replacement + data[place + len(replacement) :]
    try:
        file = GlbFile(damaged)
        for index in range(5):
            file.accessor(index)
    except InputError:
        pass
