"""Every kind of object is of a plausible size, outside the face, and repeats by seed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import MIDDLE, assert_same, assert_usable, depth_inside, tiny_head

from stream.data.faces import objects
from stream.data.faces.objects import KINDS, SHARES, draw_object
from stream.data.faces.prop import OCCLUDER_PART

PICTURES = tuple(np.random.default_rng(i).integers(0, 255, (60, 80, 3), dtype=np.uint8) for i in range(2))


def test_shares_add_up() -> None:
    assert len(SHARES) == len(KINDS)
    assert sum(SHARES) == pytest.approx(1)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[kind.__name__.strip("_") for kind in KINDS])
def test_each_kind_is_before_or_beside_the_face(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "KINDS", (KINDS[kind],))
    monkeypatch.setattr(objects, "SHARES", (1.0,))
    model, _ = tiny_head()
    outer = model.mean[: model.outer_end]
    nearest = []
    for seed in range(8):
        prop = draw_object(np.random.default_rng(seed), PICTURES, outer)
        assert_usable(prop, OCCLUDER_PART)
        assert_same(prop, draw_object(np.random.default_rng(seed), PICTURES, outer))
        size = np.ptp(prop.vertices, axis=0)
        assert 14 < size.max() < 400
        before = prop.vertices[:, 2] < MIDDLE[2]
        depth = depth_inside(prop.vertices[before]) if before.any() else -1.0
        assert depth < 2.0, "no vertex is in the face"
        nearest.append(-depth)
    assert min(nearest) < 60, "some come near"


def test_clearance_is_kept_on_the_face_model(shared: object) -> None:
    from stream.data.faces.ict import load_head_model

    model = load_head_model(shared / "data" / "ict_facekit.npz")  # type: ignore[operator]
    outer = model.mean[: model.outer_end]
    for seed in range(12):
        prop = draw_object(np.random.default_rng(seed), PICTURES, outer)
        assert_usable(prop, OCCLUDER_PART)
        # Seen from the front, no vertex that is before the ears lies behind skin within 3 mm of it.
        near = prop.vertices[prop.vertices[:, 2] < 40]
        apart = ((near[:, None, :2] - outer[None, ::3, :2]) ** 2).sum(axis=-1)
        skin = np.where(apart < 9, outer[None, ::3, 2], np.inf).min(axis=1, initial=np.inf)
        beside = np.ptp(prop.vertices[:, 0]) < 60
        assert beside or (near[:, 2] <= skin + 0.5).all(), seed


def test_no_pictures_and_one_small_picture_will_do() -> None:
    model, _ = tiny_head()
    for pictures in ((), (np.full((1, 5, 3), 9, np.uint8),)):
        for seed in range(10):
            assert_usable(draw_object(np.random.default_rng(seed), pictures, model.mean), OCCLUDER_PART)
