"""Tones, painted skin, and a photo's own light taken away."""

from __future__ import annotations

import numpy as np
import pytest

from stream.data.faces.lighting import basis
from stream.data.faces.skin import (
    BRIGHTEST,
    DARKEST,
    TONES,
    display_angle,
    draw_tone,
    fitzpatrick,
    noise_at,
    painted_skin,
    photo_gain,
)


def test_the_angle_agrees_with_a_colour_library():
    from skimage.color import rgb2lab

    for colour in TONES:
        lightness, _, yellow = rgb2lab(np.array(colour))
        assert display_angle(np.array(colour)) == pytest.approx(
            np.degrees(np.arctan2(lightness - 50, yellow)), abs=3
        )


@pytest.mark.parametrize("kind", range(1, 7))
def test_tones_are_of_their_type_or_the_next(kind):
    found = [fitzpatrick(draw_tone(np.random.default_rng(seed), kind)) for seed in range(60)]
    assert np.abs(np.array(found) - kind).max() <= 2
    assert np.abs(np.median(found) - kind) <= 1


def dome(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    normals[:, 2] = -np.abs(normals[:, 2])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_a_photos_light_is_taken_away():
    normals = dome()
    light = np.array([1.2, 0.1, -0.5, 0.45, 0, 0, 0, 0, 0.0])
    shade = np.maximum(basis(normals) @ light, 0.05)
    colours = np.array([0.6, 0.4, 0.3]) * shade[:, None]
    gain = photo_gain(colours, normals, np.ones(len(normals)), np.ones(len(normals), bool))
    flat = (colours * gain[:, None]).mean(axis=1)
    assert flat.std() / flat.mean() < 0.35 * shade.std() / shade.mean()
    assert gain.min() >= DARKEST
    assert gain.max() <= BRIGHTEST


def test_brows_do_not_pass_for_shade():
    normals = dome()
    colours = np.full((len(normals), 3), 0.4)
    colours[:300] = 0.05
    gain = photo_gain(colours, normals, np.ones(len(normals)), np.ones(len(normals), bool))
    assert np.abs(gain - 1).max() < 0.1


@pytest.mark.parametrize("skin", [np.zeros(4000, bool), np.ones(4000, bool)])
def test_nothing_seen_leaves_the_photo_as_it_is(skin):
    black = np.zeros((4000, 3))
    assert (photo_gain(black, dome(), np.ones(4000), skin) == 1).all()


def test_noise_is_smooth_at_its_size():
    points = np.random.default_rng(1).uniform(-80, 80, (3000, 3))
    rng = np.random.default_rng(2)
    values = noise_at(rng, points, 20.0)
    assert values.std() == pytest.approx(1, abs=0.35)
    near = noise_at(np.random.default_rng(2), points + 0.5, 20.0)
    assert np.abs(near - values).max() < 0.4


def test_painted_skin_keeps_its_tone_and_darkens_brows():
    rng = np.random.default_rng(0)
    points = rng.uniform([-70, -100, -50], [70, 110, 60], (2000, 3))
    landmarks = rng.uniform(-60, 100, (478, 3))
    brows = np.zeros(len(points))
    brows[:50] = 1
    colours = painted_skin(np.random.default_rng(1), points, landmarks, np.array(TONES[2]), brows)
    assert colours.shape == (2000, 3)
    assert ((colours > 0) & (colours < 1)).all()
    assert np.abs(np.median(colours[50:], axis=0) - TONES[2]).max() < 0.12
    assert colours[:50].mean() < 0.9 * colours[50:].mean()
