"""Photos on heads: what they show of them, and what the rest is filled with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.appearance import (
    PHOTO_SIDE,
    fill_tints,
    head_surface,
    photo_weights,
    sample_photo,
    skin_and_hair_colour,
)
from stream.data.faces.head import EYES, GUMS, MOUTH_SOCKET, TEETH
from stream.data.faces.ict import HEAD_END, NARROW_FACE_END


def test_the_far_cheek_is_hidden_in_the_photo(face_data: Any) -> None:
    """Seen from the side, one cheek is textured and the other is not."""
    model = face_data[2]
    outer = np.ascontiguousarray(model.mean[:HEAD_END])
    triangles = model.triangles_of(np.arange(len(model.part)) < HEAD_END)
    turned = np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]])
    uv, weight = photo_weights(outer, turned, np.array([0, 0, 1000.0]), triangles)
    face = np.arange(len(outer)) < NARROW_FACE_END
    towards, away = face & (outer[:, 0] > 55), face & (outer[:, 0] < -40)
    assert weight[towards].mean() > 0.5
    # A few lid vertices show through the eyeless sockets.
    assert (weight[away] > 0).mean() < 0.01
    assert uv.shape == (HEAD_END, 2)


def test_mirrored_places_are_mates(face_data: Any) -> None:
    model = face_data[2]
    surface = head_surface(model)
    face = np.flatnonzero(model.face)
    mates = model.mean[surface.mirror[face]] * [-1, 1, 1]
    assert np.percentile(np.linalg.norm(mates - model.mean[face], axis=1), 99) < 0.5, "millimetres"
    right, left = surface.eye_centres
    assert right[0] < 0 < left[0]
    np.testing.assert_allclose(np.linalg.norm(surface.eye_direction, axis=1), 1, atol=1e-5)
    inner = np.isin(model.part, (MOUTH_SOCKET, GUMS, TEETH))
    assert (surface.depth_in_mouth[~inner] == 0).all()
    assert surface.depth_in_mouth[inner].max() == 0.75


def test_photo_colours_are_the_nearest_pixels() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (PHOTO_SIDE, PHOTO_SIDE, 3), dtype=np.uint8)
    uv = (np.array([[3, 7], [319, 0], [100, 200]]) + 0.5) / PHOTO_SIDE
    np.testing.assert_allclose(sample_photo(photo, uv) * 255, photo[[7, 0, 200], [3, 319, 100]], atol=1e-4)
    outside = sample_photo(photo, np.array([[-1.0, 2.0]]))
    np.testing.assert_allclose(outside * 255, photo[[-1], [0]], atol=1e-4)


def test_skin_and_hair_are_told_apart_or_guessed(face_data: Any) -> None:
    model = face_data[2]
    end = model.outer_end
    colours = np.where(model.mean[:end, 1:2] < -60, [0.1, 0.08, 0.05], [0.6, 0.4, 0.3])
    skin, hair = skin_and_hair_colour(model, colours, np.ones(end))
    np.testing.assert_allclose(skin, [0.6, 0.4, 0.3])
    np.testing.assert_allclose(hair, [0.1, 0.08, 0.05])
    skin, hair = skin_and_hair_colour(model, colours, np.zeros(end))
    np.testing.assert_allclose(hair, skin / 2)


def test_fills_have_the_colours_of_their_parts(face_data: Any) -> None:
    model = face_data[2]
    skin, hair = np.array([0.7, 0.5, 0.4]), np.array([0.1, 0.1, 0.1])
    tints = fill_tints(model, head_surface(model), skin, hair, 0.9)
    face = model.face & (np.abs(model.mean[:, 1]) < 30)
    np.testing.assert_allclose(tints[face], np.tile(skin, (face.sum(), 1)), atol=0.02)
    crown = (model.mean[:, 1] < -100) & (model.part < 2)
    np.testing.assert_allclose(tints[crown], np.tile(hair, (crown.sum(), 1)), atol=0.02)
    gums, teeth = tints[model.part == GUMS], tints[model.part == TEETH]
    assert (gums[:, 0] > 1.5 * gums[:, 1]).all(), "gums are red"
    assert teeth.mean() > gums.mean()
    assert (tints[model.part == EYES] == 1).all()
