"""Glasses sit before the eyes, on the nose and outside the skin, and go back to the ears."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from data.faces.prop_heads import assert_same, assert_usable, canonical_landmarks

from stream.data.faces.glasses import DARK_SHARE, FACE_LANDMARKS, draw_glasses
from stream.data.faces.prop import GLASSES_PART

SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_fit(seed: int) -> None:
    landmarks = canonical_landmarks()
    props = draw_glasses(np.random.default_rng(seed), landmarks)
    for prop, again in zip(props, draw_glasses(np.random.default_rng(seed), landmarks), strict=True):
        assert_usable(prop, GLASSES_PART)
        assert_same(prop, again)
    frame = props[0].vertices
    width, _, length = np.ptp(frame, axis=0)
    assert 115 < width < 190
    assert 90 < length < 170, "temples reach the ears"
    front = frame[frame[:, 2] < frame[:, 2].min() + 18]
    # A half-rim has nothing below.
    assert 12 < np.ptp(front[:, 1]) < 66
    assert np.abs(front[:, 0].mean()) < 4, "both sides are alike"
    lids = landmarks[[159, 145, 386, 374], 2].min()
    clearance = lids - np.median(front[:, 2])
    assert 5 < clearance < 32, "the rims are before the eyes"


@pytest.mark.parametrize("seed", SEEDS)
def test_rims_are_outside_the_skin(seed: int) -> None:
    """No vertex of the front is behind a landmark that lies within 3 mm of it in the picture."""
    landmarks = canonical_landmarks()
    frame = draw_glasses(np.random.default_rng(seed), landmarks)[0].vertices
    front = frame[(frame[:, 2] < 5) & (np.abs(frame[:, 0]) < 50)]
    skin = landmarks[:FACE_LANDMARKS]
    apart = ((front[:, None, :2] - skin[None, :, :2]) ** 2).sum(axis=-1)
    nearest = np.where(apart < 9, skin[None, :, 2], np.inf).min(axis=1)
    assert (front[:, 2] < nearest + 0.5).all()


def test_some_are_sunglasses_whose_lenses_cover_the_eyes() -> None:
    landmarks, rng = canonical_landmarks(), np.random.default_rng(0)
    drawn = [draw_glasses(rng, landmarks) for _ in range(400)]
    dark = [props[1] for props in drawn if len(props) > 1]
    # Four standard deviations.
    assert len(dark) / 400 == pytest.approx(DARK_SHARE, abs=0.08)
    for lens in dark:
        assert lens.colour.max() < 0.25
        for pupil in landmarks[[468, 473]]:
            over = np.abs(lens.vertices[:, :2] - pupil[:2]).max(axis=1) < 14
            assert over.any()
            assert lens.vertices[over, 2].max() < pupil[2]


def test_glasses_grow_with_the_head() -> None:
    landmarks = canonical_landmarks()
    small, large = (
        draw_glasses(np.random.default_rng(3), landmarks * np.float32(scale))[0].vertices
        for scale in (0.85, 1.1)
    )
    assert np.ptp(large[:, 0]) > np.ptp(small[:, 0]) + 15
