"""Targets made of stored samples: smaller, and with normals along the line of sight."""

from __future__ import annotations

import numpy as np
import pytest
from depth_shards import bump_arrays
from exact_slopes import slopes_from_normals

from stream.data.shards import DEPTH_KNOWN, FOREGROUND, Samples
from stream.errors import ConfigError
from stream.training.augment import flip
from stream.training.targets import MIN_FACING, shrunk, sight_normals

SIZE = 48


@pytest.fixture
def samples() -> Samples:
    """Bumps seen by cameras that are near, off the middle, rolled and not square."""
    arrays = bump_arrays(6, SIZE, seed=2)
    rng = np.random.default_rng(0)
    arrays["camera"] = np.tile(np.array([520, 545, 322, 238], np.float32), (6, 1))
    arrays["crop"] = np.column_stack(
        [
            rng.uniform(150, 500, 6),
            rng.uniform(150, 330, 6),
            rng.uniform(60, 130, 6),
            rng.uniform(-0.5, 0.5, 6),
        ]
    ).astype(np.float32)
    arrays["distance"] = rng.uniform(350, 900, 6).astype(np.float32)
    return Samples(**arrays)


def slopes(normal: np.ndarray) -> np.ndarray:
    return np.moveaxis(normal[:, :2] / np.maximum(-normal[:, 2:], 1e-9), 1, -1)


def test_normals_along_the_sight_are_the_exact_slopes_and_the_tilt(samples):
    normal, known = sight_normals(samples)
    exact = slopes_from_normals(samples.normal, samples.depth, samples.crop, samples.camera, samples.distance)
    expected = exact + samples.sight[:, None, None]
    assert known.sum() > 1000
    np.testing.assert_allclose(slopes(normal)[known], expected[known], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=1)[known], 1, atol=1e-6)
    assert (normal[:, 2][known] < 0).all()


def test_they_are_the_slopes_of_the_bumps_that_were_drawn():
    samples = Samples(**bump_arrays(3, SIZE, seed=4))
    normal, known = sight_normals(samples)
    axis = (2 * np.arange(SIZE) + 1) / SIZE - 1
    tilt = samples.sight[:, 0, None, None] * axis + samples.sight[:, 1, None, None] * axis[:, None]
    seen = samples.depth.astype(np.float64) + tilt
    slope_y, slope_x = np.gradient(seen, 2 / SIZE, axis=(1, 2))
    inner = (
        known & np.roll(known, 1, 1) & np.roll(known, -1, 1) & np.roll(known, 1, 2) & np.roll(known, -1, 2)
    )
    for component, expected in ((0, slope_x), (1, slope_y)):
        error = np.abs(slopes(normal)[..., component] - expected)[inner]
        assert np.median(error) < 0.02
        assert error.max() < 0.25


def test_mirroring_first_or_last_gives_the_same(samples):
    normal, known = sight_normals(samples)
    for row in range(len(samples)):
        flip(samples, row)
    mirrored, mirrored_known = sight_normals(samples)
    expected = normal[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
    np.testing.assert_array_equal(mirrored_known, known[..., ::-1])
    np.testing.assert_allclose(mirrored[:, 0][mirrored_known], expected[:, 0][mirrored_known], atol=2e-6)
    np.testing.assert_allclose(mirrored[:, 1][mirrored_known], expected[:, 1][mirrored_known], atol=2e-6)


def test_what_looks_away_or_is_no_head_is_not_known(samples):
    samples.normal[0] = np.array([127, 0, 0], np.int8)  # across the ray, or nearly
    samples.normal[1] = 0
    samples.flags[2] &= ~np.uint8(FOREGROUND)
    normal, known = sight_normals(samples)
    assert np.isfinite(normal).all()
    centre = (samples.crop[0, 0] - samples.camera[0, 2]) / samples.camera[0, 0]
    assert (known[0] & (centre > -MIN_FACING)).sum() == 0
    assert not known[1].any()
    assert not known[2].any()
    assert known[3].any()


def test_shrinking_keeps_the_crop_and_the_camera(samples):
    small = shrunk(samples, 16)
    assert small.size == 16
    for name in ("crop", "camera", "sight", "distance", "kind"):
        np.testing.assert_array_equal(getattr(small, name), getattr(samples, name))
    areas = samples.image.reshape(6, 16, 3, 16, 3, 3).mean(axis=(2, 4))
    assert np.abs(small.image - areas).max() <= 0.51
    # Of three pixels the middle one has the same centre.
    np.testing.assert_allclose(small.depth, samples.depth[:, 1::3, 1::3], atol=1e-3)
    np.testing.assert_array_equal(small.normal, samples.normal[:, 1::3, 1::3])
    np.testing.assert_array_equal(small.flags, samples.flags[:, 1::3, 1::3])


@pytest.mark.parametrize("size", [32, 16])
def test_shrunken_depth_is_that_of_the_pixels_centres(size):
    """A plane is the same plane at any size; nearest values alone would be off by half a pixel's slope."""
    samples = Samples(**bump_arrays(1, SIZE, seed=0))

    def plane(side: int) -> np.ndarray:
        axis = (2 * np.arange(side) + 1) / side - 1
        return 0.4 * axis[None, :] - 0.3 * axis[:, None]

    samples.depth[0] = plane(SIZE)
    samples.flags[0] |= DEPTH_KNOWN
    np.testing.assert_allclose(shrunk(samples, size).depth[0], plane(size), atol=1e-3)


def test_shrinking_makes_no_depth_between_two_surfaces():
    samples = Samples(**bump_arrays(1, SIZE, seed=0))
    samples.depth[0] = np.where(np.arange(SIZE) < 25, -0.3, 0.6)
    samples.flags[0] |= DEPTH_KNOWN
    samples.flags[0, :9] &= ~np.uint8(DEPTH_KNOWN)
    samples.depth[0, :9] = 0
    for size in (16, 32):
        small = shrunk(samples, size)
        assert set(np.unique(small.depth)) == set(np.unique(samples.depth))
        assert (small.depth[0][(small.flags[0] & DEPTH_KNOWN) > 0] != 0).all()


def test_normals_of_a_shrunken_sample_are_those_of_the_sample(samples):
    normal, known = sight_normals(samples)
    small, small_known = sight_normals(shrunk(samples, 16))
    np.testing.assert_array_equal(small_known, known[:, 1::3, 1::3])
    where = np.broadcast_to(small_known[:, None], small.shape)
    np.testing.assert_allclose(small[where], normal[:, :, 1::3, 1::3][where], atol=2e-6)


def test_nothing_is_copied_at_the_stored_size_and_nothing_enlarged(samples):
    assert shrunk(samples, SIZE) is samples
    with pytest.raises(ConfigError, match="48 px"):
        shrunk(samples, 64)


def test_known_pixels_are_the_heads(samples):
    _, known = sight_normals(samples)
    head = DEPTH_KNOWN | FOREGROUND
    assert ((samples.flags[known] & head) == head).all()
