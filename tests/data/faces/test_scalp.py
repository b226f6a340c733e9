"""The grid over the skull follows the head; short hair, hats and headphones stay on it and off the face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import MIDDLE, RADII, assert_same, assert_usable, tiny_head

from stream.data.faces.correspond import stored_correspondence
from stream.data.faces.ict import load_head_model
from stream.data.faces.prop import CLOTHES_PART, HAIR_PART
from stream.data.faces.scalp import (
    CENTRE,
    draw_close_hair,
    draw_headwear,
    draw_short_hair,
    hairline,
    scalp_of,
)

COLOUR = np.array([0.3, 0.2, 0.1])


def test_the_grid_lies_on_the_head() -> None:
    model, _ = tiny_head()
    scalp = scalp_of(model)
    places, normals = scalp.on(model.mean)
    above = places[:, 1] < 60
    radius = np.linalg.norm((places[above] - MIDDLE) / RADII, axis=1)
    np.testing.assert_allclose(radius, 1, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-4)
    exact = (places[above] - MIDDLE) / RADII**2
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    assert np.quantile((normals[above] * exact).sum(axis=1), 0.02) > 0.95, "outwards"


def test_the_grid_moves_with_the_head() -> None:
    model, _ = tiny_head()
    scalp = scalp_of(model)
    shift = np.array([3.0, -5.0, 7.0], np.float32)
    moved = scalp.on(model.mean * np.float32(1.1) + shift)[0]
    np.testing.assert_allclose(moved, scalp.on(model.mean)[0] * 1.1 + shift, atol=0.01)


def test_the_hairline_runs_over_the_forehead_and_down_behind() -> None:
    model, landmarks = tiny_head()
    scalp = scalp_of(model)
    places = scalp.on(model.mean)[0]
    inside = hairline(scalp, places, landmarks)
    front = np.abs(scalp.azimuth) < 0.2
    back = np.abs(scalp.azimuth) > 2.8
    assert (inside[front & (places[:, 1] > -45)] < 0).all(), "the forehead is free"
    assert (inside[front & (places[:, 1] < -75)] > 0).all()
    assert (inside[back & (places[:, 1] < 40)] > 0).all()
    assert (hairline(scalp, places, landmarks, receding=10.0) <= inside + 1e-5).all()


@pytest.mark.parametrize("seed", range(12))
def test_hair_and_hats_leave_the_eyes_free(seed: int) -> None:
    model, landmarks = tiny_head()
    scalp = scalp_of(model)
    rng = np.random.default_rng(seed)
    drawn = [(prop, HAIR_PART) for prop in draw_short_hair(rng, scalp, model.mean, landmarks, COLOUR)]
    drawn.append((draw_close_hair(rng, scalp, model.mean, landmarks, COLOUR), HAIR_PART))
    drawn += [(prop, CLOTHES_PART) for prop in draw_headwear(rng, scalp, model.mean, landmarks)]
    for prop, part in drawn:
        assert_usable(prop, part)
        used = prop.vertices[np.unique(prop.triangles)]
        low = used[(np.abs(used[:, 0]) < 45) & (used[:, 2] < 20) & (used[:, 1] > -12)]
        relative = np.linalg.norm((low - MIDDLE) / RADII, axis=1)
        assert (relative < 1).all(), "what is below the brows is under the skin"
        assert np.ptp(used[:, 0]) < 420


def test_the_same_seed_gives_the_same_hat() -> None:
    model, landmarks = tiny_head()
    scalp = scalp_of(model)
    for seed in range(4):
        first, second = (
            draw_headwear(np.random.default_rng(seed), scalp, model.mean, landmarks) for _ in range(2)
        )
        for one, two in zip(first, second, strict=True):
            assert_same(one, two)


def test_hair_covers_the_crown_of_the_face_model(shared: Path) -> None:
    model = load_head_model(shared / "data" / "ict_facekit.npz")
    landmarks = stored_correspondence(model).place(model.mean)
    scalp = scalp_of(model)
    crown = model.mean[: model.outer_end]
    top = np.linalg.norm(crown[crown[:, 1] < -95] - CENTRE, axis=1).min()
    for seed in range(8):
        (hair,) = draw_short_hair(np.random.default_rng(seed), scalp, model.mean, landmarks, COLOUR)
        assert_usable(hair, HAIR_PART)
        high = hair.vertices[hair.vertices[:, 1] < -100]
        assert len(high) > 50
        assert np.linalg.norm(high - CENTRE, axis=1).min() > top
