"""Augmentation changes pictures like a webcam would, and the labels with them."""

from __future__ import annotations

import numpy as np
import pytest
from depth_shards import bump_arrays

from stream.data.shards import DEPTH_KNOWN, MASK_KNOWN, OCCLUDER, Samples
from stream.training import augment
from stream.training.augment import Augmenter, flip, occlude
from stream.training.settings import AugmentSettings

SIZE = 64
ALWAYS = AugmentSettings(
    flip=1, occluder=1, colour=1, grey=0, blur=1, motion=1, noise=1, low_resolution=1, jpeg=1
)
NEVER = AugmentSettings(
    flip=0, occluder=0, colour=0, grey=0, blur=0, motion=0, noise=0, low_resolution=0, jpeg=0
)
CHANGES = (augment.colour, augment.motion_blur, augment.noise, augment.low_resolution, augment.jpeg)


@pytest.fixture
def samples() -> Samples:
    return Samples(**bump_arrays(6, SIZE, seed=5))


def copy_of(samples: Samples) -> dict[str, np.ndarray]:
    names = ("image", "depth", "normal", "flags", "yaw", "sight", "crop", "camera")
    return {name: getattr(samples, name).copy() for name in names}


def test_flip_mirrors_everything_and_twice_is_nothing(samples):
    before = copy_of(samples)
    flip(samples, 2)
    np.testing.assert_array_equal(samples.depth[2], before["depth"][2][:, ::-1])
    np.testing.assert_array_equal(samples.normal[2, ..., 0], -before["normal"][2][:, ::-1, 0])
    np.testing.assert_array_equal(samples.normal[2, ..., 1:], before["normal"][2][:, ::-1, 1:])
    assert samples.yaw[2] == -before["yaw"][2]
    np.testing.assert_array_equal(samples.image[1], before["image"][1])
    flip(samples, 2)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(samples, name), value)


def test_flipped_normals_are_those_of_the_flipped_depth(samples):
    flip(samples, 0)
    known = (samples.flags[0] & DEPTH_KNOWN) > 0
    inner = known & np.roll(known, 1, 1) & np.roll(known, -1, 1)
    slope = np.gradient(samples.depth[0].astype(float), 2 / SIZE, axis=1)
    steep = inner & (np.abs(slope) > 0.3)
    assert steep.any()
    assert (np.sign(samples.normal[0, ..., 0])[steep] == np.sign(slope)[steep]).all()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_keep_shape_dtype_and_the_original_and_roughly_the_picture(samples, change):
    for seed in range(20):
        image = samples.image[seed % 6]
        before = image.copy()
        changed = change(image, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
        np.testing.assert_array_equal(image, before)
        correlation = np.corrcoef(before.ravel().astype(float), changed.ravel().astype(float))[0, 1]
        assert correlation > 0.6


def test_occluder_is_background_with_unknown_depth_and_only_there(samples):
    covered_any = 0
    for seed in range(30):
        image, flags = samples.image[0].copy(), samples.flags[0].copy()
        occlude(image, flags, samples.image[1], np.random.default_rng(seed))
        changed = flags != samples.flags[0]
        outside = ~(image != samples.image[0]).any(axis=2) & ~changed
        assert (flags[changed] == MASK_KNOWN | OCCLUDER).all()
        np.testing.assert_array_equal(flags[outside], samples.flags[0][outside])
        covered_any += changed.any()
    assert covered_any > 10


def test_the_same_seed_gives_the_same_batch_and_another_does_not(samples):
    batches = []
    for seed in (1, 1, 2):
        batch = Samples(**bump_arrays(6, SIZE, seed=5))
        Augmenter(ALWAYS)(batch, np.random.default_rng(seed))
        batches.append(batch)
    for name in copy_of(samples):
        np.testing.assert_array_equal(getattr(batches[0], name), getattr(batches[1], name))
    assert (batches[0].image != batches[2].image).any()
    assert (batches[0].image != samples.image).any()


def test_switched_off_changes_nothing(samples):
    before = copy_of(samples)
    Augmenter(NEVER)(samples, np.random.default_rng(0))
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(samples, name), value)


def test_depth_itself_is_never_made_up(samples):
    before = copy_of(samples)
    Augmenter(ALWAYS.model_copy(update={"flip": 0}))(samples, np.random.default_rng(3))
    np.testing.assert_array_equal(samples.depth, before["depth"])
    np.testing.assert_array_equal(samples.normal, before["normal"])
