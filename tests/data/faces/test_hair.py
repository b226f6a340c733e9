"""Hair lies on the skull, follows the head's shape, and broken meshes are named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import assert_same, assert_usable
from scipy.spatial import cKDTree

from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.hair import draw_hair, load_hair, scalp_vertices
from stream.data.faces.ict import load_head_model
from stream.data.faces.prop import CLOTHES_PART, HAIR_PART
from stream.errors import InputError
from stream.types import Array

COLOUR = np.array([0.3, 0.2, 0.1])
PUPILS = (468, 473)


@pytest.fixture(scope="module")
def heads(request: pytest.FixtureRequest) -> SimpleNamespace:
    """The head model, its landmarks and the hair meshes laid onto it."""
    data = request.getfixturevalue("shared") / "data"
    model = load_head_model(data / "ict_facekit.npz")
    landmarks = stored_correspondence(model).place(model.mean)
    return SimpleNamespace(model=model, landmarks=landmarks, hair=load_hair(data / "makehuman_hair", model))


def test_every_style_sits_on_the_skull(heads: SimpleNamespace) -> None:
    model = heads.model
    skull = model.mean[scalp_vertices(model)]
    for hair in heads.hair:
        top = hair.vertices[hair.vertices[:, 1] < -60]
        distance = cKDTree(top).query(skull[skull[:, 1] < -90])[0]
        assert np.median(distance) < 25, f"{hair.name} covers the crown"
        assert hair.vertices[:, 1].min() < -108, f"{hair.name} is not below the crown"
        front = hair.vertices[np.abs(hair.vertices[:, 0]) < 60][:, 2].min()
        assert front > -60, f"{hair.name} does not hang far before the face"


def test_no_style_covers_an_eye(heads: SimpleNamespace) -> None:
    """Seen from the front, the pupils and what lies 8 mm round them are free."""
    assert len(heads.hair) >= 6
    pupils = heads.landmarks[list(PUPILS), :2]
    ring = np.array([[0, 0], [8, 0], [-8, 0], [0, 8], [0, -8]])
    for hair in heads.hair:
        for place in (pupils[:, None] + ring).reshape(-1, 2):
            assert not covers(hair.vertices, hair.triangles, place), f"{hair.name} covers an eye"
    (fringe,) = (hair for hair in heads.hair if hair.name == "short02")
    assert covers(fringe.vertices, fringe.triangles, np.array([0, -50.0])), "a fringe is seen where one is"


def test_varied_hair_leaves_the_eyes_free(heads: SimpleNamespace) -> None:
    """Neither volume nor length nor hats hide a pupil; colours, shapes and repeats are right."""
    model, landmarks = heads.model, heads.landmarks
    kinds = set()
    for seed in range(60):
        props = draw_hair(np.random.default_rng(seed), heads.hair, model, model.mean, landmarks, COLOUR)
        assert props
        for prop in props:
            assert_usable(prop, prop.part)
            kinds.add(prop.part)
            for pupil in landmarks[list(PUPILS), :2]:
                assert not covers(prop.vertices, prop.triangles, pupil), seed
    assert kinds == {HAIR_PART, CLOTHES_PART}


def test_a_style_varies_in_volume_and_length_and_repeats(heads: SimpleNamespace) -> None:
    model, (hair,) = heads.model, [hair for hair in heads.hair if hair.name == "long01"]
    drawn = [hair.as_prop(np.random.default_rng(seed), model, model.mean, COLOUR) for seed in range(30)]
    assert_same(drawn[3], hair.as_prop(np.random.default_rng(3), model, model.mean, COLOUR))
    for prop in drawn:
        assert_usable(prop, HAIR_PART)
        np.testing.assert_allclose(prop.colour, COLOUR, rtol=0.16)
    lowest = [prop.vertices[np.unique(prop.triangles), 1].max() for prop in drawn]
    assert max(lowest) - min(lowest) > 80
    # On the crown alone, where length does not count: up to 15 mm more than the mesh's own height.
    top = np.array([-prop.vertices[:, 1].min() for prop in drawn]) + hair.vertices[:, 1].min()
    assert top.max() > 5
    assert top.min() > -12
    assert top.max() < 30


def covers(vertices: Array, triangles: Array, place: Array) -> bool:
    """Whether some triangle in front of the eyes (z < 0) lies over ``place`` (2,), seen along z."""
    near = triangles[(vertices[triangles][..., 2] < 0).all(axis=1)]
    corners = vertices[near][..., :2].astype(np.float64) - place
    after = np.roll(corners, -1, axis=1)
    turns = corners[..., 0] * after[..., 1] - corners[..., 1] * after[..., 0]
    return bool(((turns > 0).all(axis=1) | (turns < 0).all(axis=1)).any())


def test_hair_hangs_behind_the_face_or_beside_it(heads: SimpleNamespace) -> None:
    """Below the eyes nothing is in front of the cheeks."""
    for hair in heads.hair:
        low = hair.vertices[(hair.vertices[:, 1] > 10) & (np.abs(hair.vertices[:, 0]) < 50)]
        assert len(low) == 0 or low[:, 2].min() > 40, hair.name


def test_hair_follows_a_larger_head(heads: SimpleNamespace) -> None:
    hair = heads.hair[0]
    vertices, normals = hair.on(heads.model, heads.model.mean * np.float32(1.2))
    np.testing.assert_allclose(vertices, hair.vertices * 1.2, atol=0.1)
    assert normals.shape == vertices.shape


def test_no_or_broken_meshes_are_named(heads: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no hair"):
        load_hair(tmp_path, heads.model)
    (tmp_path / "bad.obj").write_text("v 0 0 0\nf 1/1 2/2 3/3\n")
    with pytest.raises(InputError, match=r"bad\.obj"):
        load_hair(tmp_path, heads.model)
