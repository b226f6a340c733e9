"""Hair lies on the skull, follows the head's shape, and broken meshes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.spatial import cKDTree

from stream.errors import InputError
from stream.training.faces.hair import load_hair, scalp_vertices
from stream.types import Array


def test_every_style_sits_on_the_skull(engine: Any) -> None:
    model = engine.model
    skull = model.mean[scalp_vertices(model)]
    for hair in engine.hair:
        top = hair.vertices[hair.vertices[:, 1] < -60]
        distance = cKDTree(top).query(skull[skull[:, 1] < -90])[0]
        assert np.median(distance) < 25, f"{hair.name} covers the crown"
        assert hair.vertices[:, 1].min() < -108, f"{hair.name} is not below the crown"
        front = hair.vertices[np.abs(hair.vertices[:, 0]) < 60][:, 2].min()
        assert front > -60, f"{hair.name} does not hang far before the face"


def test_no_style_covers_an_eye(engine: Any) -> None:
    """Seen from the front, the pupils and what lies 8 mm round them are free."""
    assert len(engine.hair) >= 6
    pupils = engine.surface.eye_centres[:, :2]
    ring = np.array([[0, 0], [8, 0], [-8, 0], [0, 8], [0, -8]])
    for hair in engine.hair:
        for place in (pupils[:, None] + ring).reshape(-1, 2):
            assert not covers(hair.vertices, hair.triangles, place), f"{hair.name} covers an eye"
    (fringe,) = (hair for hair in engine.hair if hair.name == "short02")
    assert covers(fringe.vertices, fringe.triangles, np.array([0, -50.0])), "a fringe is seen where one is"


def covers(vertices: Array, triangles: Array, place: Array) -> bool:
    """Whether some triangle in front of the eyes (z < 0) lies over ``place`` (2,), seen along z."""
    near = triangles[(vertices[triangles][..., 2] < 0).all(axis=1)]
    corners = vertices[near][..., :2].astype(np.float64) - place
    after = np.roll(corners, -1, axis=1)
    turns = corners[..., 0] * after[..., 1] - corners[..., 1] * after[..., 0]
    return bool(((turns > 0).all(axis=1) | (turns < 0).all(axis=1)).any())


def test_hair_hangs_behind_the_face_or_beside_it(engine: Any) -> None:
    """Below the eyes nothing is in front of the cheeks."""
    for hair in engine.hair:
        low = hair.vertices[(hair.vertices[:, 1] > 10) & (np.abs(hair.vertices[:, 0]) < 50)]
        assert len(low) == 0 or low[:, 2].min() > 40, hair.name


def test_hair_follows_a_larger_head(engine: Any) -> None:
    hair = engine.hair[0]
    vertices, normals = hair.on(engine.model, engine.model.mean * np.float32(1.2))
    np.testing.assert_allclose(vertices, hair.vertices * 1.2, atol=0.1)
    assert normals.shape == vertices.shape


def test_no_or_broken_meshes_are_named(engine: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no hair"):
        load_hair(tmp_path, engine.model)
    (tmp_path / "bad.obj").write_text("v 0 0 0\nf 1/1 2/2 3/3\n")
    with pytest.raises(InputError, match=r"bad\.obj"):
        load_hair(tmp_path, engine.model)
