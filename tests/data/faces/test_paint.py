"""Colours on heads: every skin tone as often, photos kept where they fit, no photo where it is painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.head import EYES
from stream.data.faces.kit import HeadKit
from stream.data.faces.paint import MOST_CHANGE, Paint, paint, photo_colours
from stream.data.faces.render import HEAD_FLOATS
from stream.data.shards import ANNY, ICT
from stream.types import Array

DRAWS = 120


@pytest.fixture(params=[ICT, ANNY], ids=["ict", "anny"])
def kit(request: pytest.FixtureRequest, engine: Any) -> HeadKit:
    return engine.kits[request.param]


def painted_head(kit: HeadKit, seed: int, painted: bool) -> tuple[Paint, Array]:
    """What is drawn on photo ``seed % 24``'s head, and the vertices (N, HEAD_FLOATS)."""
    photo = seed % 24
    own = kit.model.vertices(kit.photos.fits.coefficients[photo : photo + 1])[0]
    vertices = np.zeros((len(own), HEAD_FLOATS), np.float32)
    picture = kit.photos.image(photo)
    look = paint(np.random.default_rng(seed), kit, own, photo, picture, vertices, painted)
    return look, vertices


def test_every_type_of_skin_is_drawn(engine: Any) -> None:
    kit = engine.kits[ICT]
    kinds = np.array([painted_head(kit, seed, seed % 4 == 0)[0].kind for seed in range(DRAWS)])
    shares = np.bincount(kinds, minlength=7)[1:] / DRAWS
    assert len(shares) == 6
    assert shares.min() >= 0.08


def test_a_photo_near_the_tone_wanted_keeps_its_colours(kit: HeadKit) -> None:
    looks = [painted_head(kit, seed, False)[0] for seed in range(48)]
    changed = np.array([(look.tone != 1).any() for look in looks])
    assert 0.2 < changed.mean() < 0.9
    for look in looks:
        assert not look.painted
        assert look.tone.min() >= 1 / MOST_CHANGE
        assert look.tone.max() <= MOST_CHANGE
        assert ((look.skin > 0) & (look.skin < 1)).all()


def test_photographed_vertices_have_places_weights_and_gains(kit: HeadKit) -> None:
    _, vertices = painted_head(kit, 2, False)
    end, mirror = kit.model.outer_end, kit.surface.mirror
    seen = vertices[:end, 8]
    assert seen.min() >= 0
    assert seen.max() == 1
    assert (seen[kit.model.face[:end]] > 0.5).mean() > 0.5
    assert vertices[:end, [9, 13]].min() > 0
    assert (vertices[end:, 8] == 0).all(), "inside the mouth nothing is photographed"
    mates = np.flatnonzero(mirror[:end] < end)
    np.testing.assert_array_equal(vertices[mates, 10:13], vertices[mirror[mates], 6:9])
    assert vertices[:, 14:17].min() >= 0
    assert vertices[:, 14:17].max() <= 1


def test_painted_vertices_take_nothing_from_the_photo(kit: HeadKit) -> None:
    look, vertices = painted_head(kit, 3, True)
    assert look.painted
    assert (look.tone == 1).all()
    outer = vertices[: kit.model.outer_end]
    assert (outer[:, [8, 12]] == 0).all()
    cheeks = outer[kit.model.face[: len(outer)], 14:17]
    assert np.abs(np.median(cheeks, axis=0) - look.skin).max() < 0.15
    eyes = vertices[kit.model.part == EYES, 10:13]
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 1, atol=1e-3)


def test_a_photos_colours_are_read_where_the_head_lies(kit: HeadKit) -> None:
    """The face is seen, the back of the head is not, and cheeks have the photo's colour there."""
    photo = 4
    own = kit.model.vertices(kit.photos.fits.coefficients[photo : photo + 1])[0]
    uv, weight, colours = photo_colours(kit, own, photo, kit.photos.image(photo))
    back = own[: len(uv), 2] > 120
    assert (weight[back] > 0.2).mean() < 0.02
    landmarks = kit.photos.labels.landmarks[photo]
    cheek = np.rint(landmarks[50, :2]).astype(int)
    vertex = np.linalg.norm(own[: len(uv)] - kit.landmarks(own)[50], axis=1).argmin()
    np.testing.assert_allclose(uv[vertex] * 320, cheek, atol=6)
    patch = kit.photos.image(photo)[cheek[1] - 4 : cheek[1] + 5, cheek[0] - 4 : cheek[0] + 5]
    np.testing.assert_allclose(colours[vertex], np.median(patch, axis=(0, 1)) / 255, atol=0.08)
