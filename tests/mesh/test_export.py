"""Meshes in files, read back by other libraries."""

import errno
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pygltflib
import pytest
import trimesh
from mesh.mesh_samples import coordinates, sample_face, sample_frame

from stream.errors import OutputError
from stream.geometry import camera_to_gltf, camera_to_gltf_direction
from stream.mesh.build import build_mesh
from stream.mesh.export import write_mesh, write_meshes
from stream.mesh.surface import used_surface
from stream.types import Array, Depth, Mesh

RED, GREEN, BLUE, WHITE = (250, 10, 20), (10, 240, 30), (20, 30, 245), (255, 255, 255)


def sample_mesh(size: int = 40) -> Mesh:
    """A tilted dome; its texture is red top left, green top right, blue below left and white below right."""
    x, y = coordinates(size)
    square = x**2 + y**2
    depth = Depth((0.4 * square + 0.1 * x).astype(np.float32), (square < 0.9).astype(np.float32))
    mesh = build_mesh(sample_frame(), sample_face(), depth)
    texture = np.empty((256, 256, 3), np.uint8)
    texture[:128, :128], texture[:128, 128:] = RED, GREEN
    texture[128:, :128], texture[128:, 128:] = BLUE, WHITE
    return replace(mesh, texture=texture)


MESH = sample_mesh()
USED = MESH.vertices[MESH.valid]


def corner_colours(positions: Array, colours: Array) -> list[tuple[int, ...]]:
    """Colours at the four corners in glTF's axes as the viewer sees them: x right, y up."""
    centre = (positions.min(axis=0) + positions.max(axis=0)) / 2
    x, y = (positions - centre)[:, 0], (positions - centre)[:, 1]
    picks = [np.argmax(-x + y), np.argmax(x + y), np.argmax(-x - y), np.argmax(x - y)]
    return [tuple(int(c) for c in colours[pick][:3]) for pick in picks]


def texture_at(texture: Array, uv: Array) -> Array:
    """Nearest texels, origin of uv at the top left."""
    size = texture.shape[0]
    at = np.clip(np.floor(uv * size).astype(int), 0, size - 1)
    return texture[at[:, 1], at[:, 0]]


def check_winding(positions: Array, normals: Array, triangles: Array) -> None:
    """Triangles and vertex normals agree and face the viewer, who looks along -z from the origin."""
    corners = positions[triangles].astype(np.float64)
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((areas[:, None] * normals[triangles]).sum(axis=2) > 0).all()
    assert (-(areas * corners[:, 0]).sum(axis=1) > 0).all()


def read_glb(path: Path) -> tuple[pygltflib.GLTF2, dict[str, Array], bytes]:
    """The parsed file, its arrays by name and its picture."""
    gltf = pygltflib.GLTF2().load(str(path))
    blob = gltf.binary_blob()
    primitive = gltf.meshes[0].primitives[0]
    names = {"positions": primitive.attributes.POSITION, "normals": primitive.attributes.NORMAL}
    names |= {"uv": primitive.attributes.TEXCOORD_0, "triangles": primitive.indices}
    arrays = {}
    for name, index in names.items():
        accessor = gltf.accessors[index]
        view = gltf.bufferViews[accessor.bufferView]
        dtype = {5126: "<f4", 5125: "<u4"}[accessor.componentType]
        data = np.frombuffer(blob[view.byteOffset : view.byteOffset + view.byteLength], dtype)
        arrays[name] = data.reshape(accessor.count, {"VEC3": 3, "VEC2": 2, "SCALAR": 1}[accessor.type])
    view = gltf.bufferViews[gltf.images[0].bufferView]
    return gltf, arrays, bytes(blob[view.byteOffset : view.byteOffset + view.byteLength])


def test_glb_holds_the_mesh(tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    write_mesh(MESH, path)
    gltf, arrays, picture = read_glb(path)
    np.testing.assert_array_equal(arrays["positions"], camera_to_gltf(USED).astype(np.float32))
    np.testing.assert_array_equal(arrays["normals"], camera_to_gltf_direction(MESH.normals[MESH.valid]))
    np.testing.assert_array_equal(arrays["uv"], MESH.uv[MESH.valid])
    triangles = arrays["triangles"].reshape(-1, 3)
    assert len(triangles) == len(MESH.triangles)
    np.testing.assert_array_equal(
        arrays["positions"][triangles], camera_to_gltf(MESH.vertices[MESH.triangles]).astype(np.float32)
    )
    check_winding(arrays["positions"], arrays["normals"], triangles)
    texture = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(texture, MESH.texture)
    colours = texture_at(texture, arrays["uv"])
    assert corner_colours(arrays["positions"], colours) == [RED, GREEN, BLUE, WHITE]
    material = gltf.materials[0]
    assert "KHR_materials_unlit" in material.extensions
    assert material.pbrMetallicRoughness.metallicFactor == 0
    assert material.pbrMetallicRoughness.roughnessFactor == 1
    assert gltf.extensionsUsed == ["KHR_materials_unlit"]


def test_glb_is_laid_out_as_the_standard_says(tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    # A texture whose PNG length is no multiple of four, to see the padding.
    lengths = set()
    for side in range(2, 12):
        write_mesh(replace(MESH, texture=np.full((side, side, 3), 20 * side, np.uint8)), path)
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        json_length, json_kind = struct.unpack_from("<I4s", data, 12)
        assert json_kind == b"JSON"
        assert json_length % 4 == 0
        document = json.loads(data[20 : 20 + json_length])
        body_length, body_kind = struct.unpack_from("<I4s", data, 20 + json_length)
        assert body_kind == b"BIN\0"
        assert body_length % 4 == 0
        assert 28 + json_length + body_length == len(data)
        assert document["buffers"] == [{"byteLength": body_length}]
        end = 0
        for view in document["bufferViews"]:
            assert view["byteOffset"] % 4 == 0
            assert view["byteOffset"] >= end
            end = view["byteOffset"] + view["byteLength"]
        assert end <= body_length < end + 4
        lengths.add(document["bufferViews"][-1]["byteLength"] % 4)
        sizes = {"VEC3": 12, "VEC2": 8, "SCALAR": 4}
        for accessor in document["accessors"]:
            view = document["bufferViews"][accessor["bufferView"]]
            assert accessor["count"] * sizes[accessor["type"]] == view["byteLength"]
    assert len(lengths) > 1
    positions, triangles = document["accessors"][0], read_glb(path)[1]["triangles"]
    stored = read_glb(path)[1]["positions"]
    np.testing.assert_array_equal(np.float32(positions["min"]), stored.min(axis=0))
    np.testing.assert_array_equal(np.float32(positions["max"]), stored.max(axis=0))
    assert set(triangles.ravel().tolist()) == set(range(positions["count"]))


def test_trimesh_reads_the_glb(tmp_path: Path) -> None:
    path = tmp_path / "face.glb"
    write_mesh(MESH, path)
    loaded = trimesh.load(path, force="mesh", process=False)
    np.testing.assert_allclose(loaded.vertices, camera_to_gltf(USED), rtol=1e-6)
    assert len(loaded.faces) == len(MESH.triangles)
    texture = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    # trimesh turns v round, so that its origin is at the bottom left.
    uv = np.asarray(loaded.visual.uv) * [1, -1] + [0, 1]
    colours = texture_at(texture, uv)
    assert corner_colours(np.asarray(loaded.vertices), colours) == [RED, GREEN, BLUE, WHITE]


def test_ply_holds_the_mesh_with_colours(tmp_path: Path) -> None:
    path = tmp_path / "face.ply"
    write_mesh(MESH, path)
    assert b"format binary_little_endian 1.0" in path.read_bytes()[:60]
    loaded = trimesh.load(path, process=False)
    np.testing.assert_array_equal(np.float32(loaded.vertices), camera_to_gltf(USED).astype(np.float32))
    np.testing.assert_allclose(
        loaded.vertex_normals, camera_to_gltf_direction(MESH.normals[MESH.valid]), atol=1e-6
    )
    check_winding(np.asarray(loaded.vertices), np.asarray(loaded.vertex_normals), loaded.faces)
    assert len(loaded.faces) == len(MESH.triangles)
    colours = np.asarray(loaded.visual.vertex_colors)
    assert corner_colours(np.asarray(loaded.vertices), colours) == [RED, GREEN, BLUE, WHITE]


def test_obj_holds_the_mesh_with_its_companions(tmp_path: Path) -> None:
    path = tmp_path / "my face.obj"
    write_mesh(MESH, path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 3
    assert names[0] == "my face.obj"
    assert all(re.fullmatch(r"my_face-[0-9a-f]{6}(\.mtl|_texture\.png)", name) for name in names[1:])
    loaded = trimesh.load(path, process=False, maintain_order=True)
    np.testing.assert_allclose(loaded.vertices, camera_to_gltf(USED), rtol=1e-6, atol=1e-9)
    assert len(loaded.faces) == len(MESH.triangles)
    check_winding(np.asarray(loaded.vertices), np.asarray(loaded.vertex_normals), loaded.faces)
    texture = np.asarray(loaded.visual.material.image.convert("RGB"))
    uv = np.asarray(loaded.visual.uv) * [1, -1] + [0, 1]
    assert corner_colours(np.asarray(loaded.vertices), texture_at(texture, uv)) == [RED, GREEN, BLUE, WHITE]


def texture_of(path: Path) -> tuple[int, ...]:
    """The colour of the texture that a reader finds for an OBJ."""
    image = trimesh.load(path, process=False).visual.material.image.convert("RGB")
    return tuple(int(c) for c in np.asarray(image)[0, 0])


def plain(colour: tuple[int, ...]) -> Mesh:
    return replace(MESH, texture=np.full((8, 8, 3), colour, np.uint8))


@pytest.mark.parametrize(
    ("one", "other"),
    [("アンナ", "花子子"), ("my face", "my_face"), ("a" * 240 + "b", "a" * 240 + "c"), ("é", "ü")],
)
def test_each_obj_has_companions_of_its_own(tmp_path: Path, one: str, other: str) -> None:
    for stem, colour in ((one, RED), (other, GREEN), (one, BLUE)):
        write_mesh(plain(colour), tmp_path / f"{stem}.obj")
    assert texture_of(tmp_path / f"{one}.obj") == BLUE
    assert texture_of(tmp_path / f"{other}.obj") == GREEN
    assert len(list(tmp_path.iterdir())) == 6  # the third export took the names of the first


def test_nothing_that_others_made_is_replaced_by_a_companion(tmp_path: Path) -> None:
    """As in `reconstruct anna_texture.png -o anna.obj`."""
    for name in ("anna_texture.png", "bob.mtl"):
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "carl.mtl").symlink_to("nowhere.mtl")
    for name in ("anna", "bob", "carl"):
        write_mesh(plain(RED), tmp_path / f"{name}.obj")
        assert texture_of(tmp_path / f"{name}.obj") == RED
        assert (tmp_path / f"{name}-2.mtl").exists()
    assert (tmp_path / "anna_texture.png").read_bytes() == (tmp_path / "bob.mtl").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere.mtl").exists()


def test_a_disk_that_fills_up_leaves_no_part_of_an_obj(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = Path.write_text

    def full(self: Path, data: str, *args: Any, **options: Any) -> int:
        if self.suffix == ".obj":
            raise OSError(errno.ENOSPC, "No space left on device")
        return inner(self, data, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        write_mesh(MESH, tmp_path / "face.obj")
    assert list(tmp_path.iterdir()) == []


def test_every_face_gets_a_file(tmp_path: Path) -> None:
    empty = replace(MESH, triangles=np.zeros((0, 3), np.int32))
    written = write_meshes([MESH, empty, sample_mesh(30)], tmp_path / "face.glb")
    assert written == [tmp_path / "face.glb", tmp_path / "face-2.glb"]
    counts = [len(trimesh.load(path, force="mesh").faces) for path in written]
    assert counts == [len(MESH.triangles), len(sample_mesh(30).triangles)]


def test_many_vertices_get_the_colours_at_their_texels(tmp_path: Path) -> None:
    row, column = np.mgrid[0:256, 0:256].astype(np.uint8)
    mesh = replace(sample_mesh(200), texture=np.stack([column, row, row], axis=2))
    path = tmp_path / "face.ply"
    write_mesh(mesh, path)
    colours = np.asarray(trimesh.load(path, process=False).visual.vertex_colors)[:, :2]
    # Texel k's centre lies at (k + 0.5) / 256.
    expected = used_surface(mesh).uv * 256 - 0.5
    assert len(expected) > 20_000
    assert np.abs(colours - expected).max() < 0.6


def test_upper_case_suffix_and_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "FACE.GLB"
    write_mesh(MESH, path)
    assert path.read_bytes()[:4] == b"glTF"


def test_unknown_suffixes_are_named(tmp_path: Path) -> None:
    for name in ("face.stl", "face", "face.glb.txt"):
        with pytest.raises(OutputError, match=r"\.glb, \.ply, \.obj"):
            write_mesh(MESH, tmp_path / name)


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj"])
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"taken{suffix}"
    target.mkdir()
    (tmp_path / "file").write_text("in the way")
    for path in (target, tmp_path / "file" / f"face{suffix}"):
        with pytest.raises(OutputError):
            write_mesh(MESH, path)
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


def test_meshes_that_make_no_file_are_refused(tmp_path: Path) -> None:
    broken = MESH.vertices.copy()
    broken[MESH.triangles[0, 0], 1] = np.nan
    for mesh in (
        replace(MESH, triangles=np.zeros((0, 3), np.int32)),
        replace(MESH, vertices=broken),
        replace(MESH, triangles=MESH.triangles + len(MESH.vertices)),
        replace(MESH, triangles=MESH.triangles - len(MESH.vertices)),
        replace(MESH, texture=np.zeros((0, 0, 3), np.uint8)),
    ):
        with pytest.raises(OutputError):
            write_mesh(mesh, tmp_path / "face.glb")
    assert list(tmp_path.iterdir()) == []
