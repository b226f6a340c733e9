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
