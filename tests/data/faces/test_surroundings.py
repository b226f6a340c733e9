"""Props round a head: as often as their shares say, and posed with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces import surroundings
from stream.data.faces.kit import HeadKit
from stream.data.faces.paint import Paint
from stream.data.faces.prop import CLOTHES_PART, GLASSES_PART, HAIR_PART, OCCLUDER_PART, Prop
from stream.data.faces.sampling import turn
from stream.data.faces.surroundings import draw_hair_colour
from stream.data.shards import ANNY, ICT
from stream.types import Array

SHARES = (
    "PAINTED_HAIR_SHARE",
    "PHOTO_HAIR_SHARE",
    "BEARD_SHARE",
    "GLASSES_SHARE",
    "COLLAR_SHARE",
    "HAND_SHARE",
    "OBJECT_SHARE",
)
LOOK = Paint(np.array([0.7, 0.5, 0.4]), np.array([0.2, 0.1, 0.1]), 3, np.ones(3), False)
PICTURE = np.full((64, 64, 3), 90, np.uint8)


@pytest.fixture(params=[ICT, ANNY], ids=["ict", "anny"])
def kit(request: pytest.FixtureRequest, engine: Any) -> HeadKit:
    return engine.kits[request.param]


def props(
    engine: Any, kit: HeadKit, seed: int, rotation: Array | None = None, translation: Array | None = None
) -> list[Prop]:
    return engine.surroundings.draw(
        np.random.default_rng(seed),
        kit,
        kit.model.mean,
        LOOK,
        (PICTURE, PICTURE),
        np.eye(3) if rotation is None else rotation,
        np.zeros(3) if translation is None else translation,
    )


def test_shares_decide_what_is_drawn(engine: Any, kit: HeadKit, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SHARES:
        monkeypatch.setattr(surroundings, name, 0.0)
    assert props(engine, kit, 0) == []
    for name in SHARES:
        monkeypatch.setattr(surroundings, name, 1.0)
    parts = {prop.part for seed in range(3) for prop in props(engine, kit, seed)}
    assert parts == {HAIR_PART, GLASSES_PART, CLOTHES_PART, OCCLUDER_PART}
    monkeypatch.setattr(surroundings, "HAND_SHARE", 0.0)
    monkeypatch.setattr(surroundings, "OBJECT_SHARE", 0.0)
    assert OCCLUDER_PART not in {prop.part for prop in props(engine, kit, 0)}


def test_props_are_posed_with_the_head(engine: Any, kit: HeadKit, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SHARES:
        monkeypatch.setattr(surroundings, name, 1.0)
    rotation, translation = turn(0.5, -0.2, 0.3), np.array([30.0, -40, 700])
    here, there = props(engine, kit, 4), props(engine, kit, 4, rotation, translation)
    assert len(here) == len(there) >= 5
    for prop, posed in zip(here, there, strict=True):
        np.testing.assert_allclose(posed.vertices, prop.vertices @ rotation.T + translation, atol=1e-2)
        np.testing.assert_allclose(posed.normals, prop.normals @ rotation.T, atol=1e-4)
        assert posed.triangles is prop.triangles or np.array_equal(posed.triangles, prop.triangles)


def test_hands_and_objects_are_before_the_face(
    engine: Any, kit: HeadKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something of each lies nearer to the camera than the head there does."""
    for name in SHARES:
        monkeypatch.setattr(surroundings, name, float(name in ("HAND_SHARE", "OBJECT_SHARE")))
    nearest = []
    for seed in range(6):
        hand, thing = props(engine, kit, seed)
        nearest += [hand.vertices[:, 2].min(), thing.vertices[:, 2].min()]
    assert np.median(nearest) < 0, "the eyes lie at 0, the nose's tip before them"


def test_hair_colours_are_colours_of_hair() -> None:
    rng = np.random.default_rng(0)
    photographed = np.array([0.3, 0.2, 0.9])
    drawn = np.array([draw_hair_colour(rng, photographed) for _ in range(400)])
    assert drawn.min() >= 0.02
    assert drawn.max() <= 0.95
    own = (drawn[:, 2] > 2 * drawn[:, 0]).mean()
    assert own == pytest.approx(0.4, abs=0.08), "the photo's own colour"
