"""Hair of the face grows where it does on people: regions, weights, and shells on the skin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import assert_same, assert_usable, tiny_head

from stream.data.faces.beard import (
    Regions,
    brow_weight,
    draw_beard,
    lash_weight,
    regions_of,
    stubble_weight,
)
from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.head import HeadModel, vertex_normals
from stream.data.faces.ict import load_head_model
from stream.data.faces.prop import HAIR_PART
from stream.types import Array

COLOUR = np.array([0.2, 0.12, 0.08])


def tiny() -> tuple[HeadModel, Regions, Array, Array]:
    model, landmarks = tiny_head()
    normals = vertex_normals(model.mean, model.triangles)
    return model, regions_of(model, landmarks), landmarks, normals


@pytest.mark.parametrize("weigh", [stubble_weight, brow_weight, lash_weight])
def test_weights_are_per_vertex_and_repeat(weigh: object) -> None:
    model, regions, _, _ = tiny()
    weight = weigh(np.random.default_rng(1), regions)  # type: ignore[operator]
    assert weight.shape == (len(model.mean),)
    assert weight.dtype == np.float32
    assert weight.min() >= 0
    assert weight.max() <= 1
    assert weight.any()
    np.testing.assert_array_equal(weight, weigh(np.random.default_rng(1), regions))  # type: ignore[operator]
    assert not weight[model.mean[:, 1] < -60].any(), "nothing on the skull"


@pytest.mark.parametrize("seed", range(12))
def test_beards_lie_on_the_skin(seed: int) -> None:
    model, regions, _, normals = tiny()
    (beard,) = draw_beard(np.random.default_rng(seed), regions, model.mean, normals, COLOUR)
    (again,) = draw_beard(np.random.default_rng(seed), regions, model.mean, normals, COLOUR)
    assert_usable(beard, HAIR_PART)
    assert_same(beard, again)
    assert beard.strands > 0
    vertices = beard.vertices
    assert vertices[:, 1].min() > -20, "no higher than the sideburns"
    from scipy.spatial import cKDTree

    away = cKDTree(model.mean).query(vertices)[0]
    assert away.max() < 45
    assert np.median(away) < 20


def test_a_head_without_a_face_has_no_beard() -> None:
    model, regions, _, normals = tiny()
    none = Regions(
        regions.skin, regions.count, regions.faces[:0], *(getattr(regions, n) for n in Regions.__slots__[3:])
    )
    assert draw_beard(np.random.default_rng(0), none, model.mean, normals, COLOUR) == []


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> tuple[HeadModel, Array, Regions]:
    shared: Path = request.getfixturevalue("shared")
    model = load_head_model(shared / "data" / "ict_facekit.npz")
    landmarks = stored_correspondence(model).place(model.mean)
    return model, landmarks, regions_of(model, landmarks)


def nearest(model: HeadModel, place: Array) -> int:
    return int(np.linalg.norm(model.mean[: model.outer_end] - place, axis=1).argmin())


def test_regions_are_where_the_landmarks_say(real: tuple[HeadModel, Array, Regions]) -> None:
    """Moustache under the nose, beard on the chin; lips, nose, cheeks and forehead are free."""
    model, points, regions = real
    rng = np.random.default_rng(4)
    stubble = np.max([stubble_weight(rng, regions) for _ in range(20)], axis=0)
    for landmark in (164, 199, 175, 172, 397):
        assert stubble[nearest(model, points[landmark])] > 0.1, landmark
    for landmark in (13, 14, 4, 50, 280, 10, 168, 17):
        assert stubble[nearest(model, points[landmark])] < 0.02, landmark
    brow = np.max([brow_weight(rng, regions) for _ in range(10)], axis=0)
    for inside in ((105, 52), (334, 282)):
        assert brow[nearest(model, points[list(inside)].mean(axis=0))] > 0.5
    assert brow[nearest(model, points[151])] == 0
    lash = lash_weight(np.random.default_rng(0), regions)
    # Landmark 159 lies within 1.5 mm of the lid's border, and the brows far from it.
    assert lash[nearest(model, points[159])] > 0.1
    assert lash[nearest(model, points[105])] < 1e-6


def test_left_and_right_are_alike(real: tuple[HeadModel, Array, Regions]) -> None:
    model, _, regions = real
    rng = np.random.default_rng(0)
    brow = brow_weight(rng, regions)
    side = np.sign(model.mean[:, 0])
    left, right = brow[side > 0].sum(), brow[side < 0].sum()
    assert left == pytest.approx(right, rel=0.1)


def test_a_beard_follows_the_jaw(real: tuple[HeadModel, Array, Regions]) -> None:
    """With the mouth open the beard's lowest point is lower, by about as much as the chin."""
    model, _, regions = real
    coefficients = np.zeros((1, len(model.basis)))
    coefficients[0, model.identities + model.expressions.index("jawOpen")] = 1.0
    opened = model.vertices(coefficients)[0]
    seed = next(
        s
        for s in range(20)
        if (draw_beard(np.random.default_rng(s), regions, model.mean, normals_of(model, model.mean), COLOUR))[
            0
        ]
        .vertices[:, 1]
        .max()
        > 110
    )
    low = [
        draw_beard(np.random.default_rng(seed), regions, head, normals_of(model, head), COLOUR)[0]
        .vertices[:, 1]
        .max()
        for head in (model.mean, opened)
    ]
    assert 8 < low[1] - low[0] < 45


def normals_of(model: HeadModel, head: Array) -> Array:
    return vertex_normals(np.ascontiguousarray(head, np.float32), model.triangles)
