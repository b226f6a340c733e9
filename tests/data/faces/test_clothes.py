"""Collars lie round the neck, outside it and below the chin; a head without a neck has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import assert_same, assert_usable, tiny_head

from stream.data.faces.clothes import STYLES, draw_collar
from stream.data.faces.ict import load_head_model
from stream.data.faces.prop import CLOTHES_PART


@pytest.mark.parametrize("seed", range(20))
def test_collars_surround_the_neck(seed: int) -> None:
    model, _ = tiny_head()
    collar = draw_collar(np.random.default_rng(seed), model, model.mean)
    again = draw_collar(np.random.default_rng(seed), model, model.mean)
    assert collar is not None
    assert again is not None
    assert_usable(collar, CLOTHES_PART)
    assert_same(collar, again)
    vertices = collar.vertices
    assert np.ptp(vertices[:, 0]) > 330, "shoulders"
    assert vertices[:, 1].max() > 230, "the chest fills the picture below the neck"
    chin = model.mean[model.face, 1].max()
    front = vertices[(np.abs(vertices[:, 0]) < 30) & (vertices[:, 2] < 100)]
    assert front[:, 1].min() > chin, "the chin is free"
    # The tiny head's neck is a cylinder of 55 mm about z = 100 down to y = 150.
    on_neck = vertices[vertices[:, 1] < 145]
    assert np.hypot(on_neck[:, 0], on_neck[:, 2] - 100).min(initial=99) > 54


def test_every_style_starts_at_the_neck() -> None:
    for style in STYLES:
        rings, opening = style(np.random.default_rng(0))
        assert len(rings) >= 4
        assert 0 < rings[0][0] < 20
        assert opening >= 0


def test_an_open_mouth_stays_above_the_collar(shared: Path) -> None:
    model = load_head_model(shared / "data" / "ict_facekit.npz")
    coefficients = np.zeros((1, len(model.basis)))
    coefficients[0, model.identities + model.expressions.index("jawOpen")] = 1.0
    head = model.vertices(coefficients)[0]
    front = model.face & (model.mean[:, 2] < 0)
    chin = head[front, 1].max()
    assert chin > model.mean[front, 1].max() + 15
    for seed in range(10):
        collar = draw_collar(np.random.default_rng(seed), model, head)
        assert collar is not None
        assert_usable(collar, CLOTHES_PART)
        before = collar.vertices[(np.abs(collar.vertices[:, 0]) < 20) & (collar.vertices[:, 2] < 80)]
        assert before[:, 1].min() > chin


def test_no_neck_no_collar() -> None:
    model, _ = tiny_head()
    short = replace(model, mean=model.mean * np.array([1, 0.5, 1], np.float32), face=model.face & False)
    assert draw_collar(np.random.default_rng(0), short, short.mean) is None
    up = model.mean.copy()
    up[model.mean[:, 1] > 80] = [0, -100, 60]
    assert draw_collar(np.random.default_rng(0), replace(model, mean=up), up) is None
