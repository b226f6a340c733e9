"""The avatar that the page loads: a head that ARKit's coefficients move."""

from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
from mesh.glb_reader import GlbFile

import stream.remote
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array

FILE = Path(stream.remote.__file__).parent / "web" / "public" / "avatar.glb"

MOST_BYTES = 1_500_000


@pytest.fixture(scope="module")
def avatar() -> GlbFile:
    return GlbFile(FILE.read_bytes())


def mesh_named(avatar: GlbFile, name: str) -> dict[str, Any]:
    return next(mesh for mesh in avatar.document["meshes"] if mesh["name"] == name)


def metres(avatar: GlbFile, name: str, accessor: int) -> Array:
    node = next(node for node in avatar.document["nodes"] if node["name"] == name)
    return avatar.accessor(accessor) * np.array(node["scale"])


def places(avatar: GlbFile, name: str) -> Array:
    return metres(avatar, name, mesh_named(avatar, name)["primitives"][0]["attributes"]["POSITION"])


def moved(avatar: GlbFile, name: str, shape: str) -> Array:
    mesh = mesh_named(avatar, name)
    target = mesh["primitives"][0]["targets"][mesh["extras"]["targetNames"].index(shape)]
    return metres(avatar, name, target["POSITION"])


def test_the_skin_has_all_of_arkits_shapes_but_the_tongue(avatar: GlbFile) -> None:
    assert FILE.stat().st_size < MOST_BYTES
    assert mesh_named(avatar, "skin")["extras"]["targetNames"] == list(ARKIT_NAMES[:-1])
    for mesh in avatar.document["meshes"]:
        (primitive,) = mesh["primitives"]
        assert len(primitive["targets"]) == len(mesh["weights"]) == len(mesh["extras"]["targetNames"])
        assert set(mesh["extras"]["targetNames"]) <= set(ARKIT_NAMES)


def test_it_is_a_head_in_metres_that_looks_along_z(avatar: GlbFile) -> None:
    skin = places(avatar, "skin")
    size = np.ptp(skin, axis=0)
    assert 0.2 < size[0] < 0.3
    assert 0.3 < size[1] < 0.4
    assert skin[skin[:, 2].argmax(), 1] < -0.02, "the nose's tip is below the eyes"
    assert np.abs(places(avatar, "eyes").mean(axis=0)[:2]).max() < 0.005, "the origin is between the eyes"


def test_triangles_are_wound_outwards(avatar: GlbFile) -> None:
    primitive = mesh_named(avatar, "skin")["primitives"][0]
    skin = places(avatar, "skin")
    normals = avatar.accessor(primitive["attributes"]["NORMAL"])
    a, b, c = avatar.accessor(primitive["indices"]).reshape(-1, 3).T
    faces = np.cross(skin[b] - skin[a], skin[c] - skin[a])
    assert (np.einsum("ij,ij->i", faces, normals[a]) > 0).mean() > 0.98


def test_shapes_go_the_right_way(avatar: GlbFile) -> None:
    skin = places(avatar, "skin")
    chin = np.linalg.norm(skin - [0.0, -0.095, 0.02], axis=1).argmin()
    assert moved(avatar, "skin", "jawOpen")[chin, 1] < -0.015
    assert moved(avatar, "mouth", "jawOpen")[:, 1].min() < -0.02
    eyes = places(avatar, "eyes")
    left = eyes[:, 0] > 0
    front = eyes[left][:, 2].argmax()
    inwards = moved(avatar, "eyes", "eyeLookInLeft")
    assert inwards[left][front, 0] < -0.004, "the person's left eye turns to the nose"
    assert np.abs(inwards[~left]).max() == 0
    blink = moved(avatar, "skin", "eyeBlinkLeft")
    assert np.abs(blink[skin[:, 0] < -0.01]).max() == 0
    assert blink[:, 1].min() < -0.006


def test_another_library_reads_it() -> None:
    file = pygltflib.GLTF2().load(str(FILE))
    assert [material.name for material in file.materials] == ["skin", "mouth", "eyes"]
    assert "ICT-FaceKit" in file.asset.copyright
