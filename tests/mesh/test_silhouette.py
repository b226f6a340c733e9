"""The mask's rim: islands, threads and steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.mesh.silhouette import clean_mask, depth_jump


def test_only_the_largest_piece_is_kept() -> None:
    mask = np.zeros((32, 32), np.float32)
    mask[4:20, 4:20] = 0.9
    mask[24:30, 24:30] = 1.0
    mask[20:24, 20:24] = 0.8  # touches the first only at a corner
    clean = clean_mask(np.zeros_like(mask), mask)
    expected = np.zeros_like(mask)
    expected[4:20, 4:20] = 0.9
    # Opening by a cross rounds a square's corners only.
    assert set(zip(*np.nonzero(clean != expected), strict=True)) <= {(4, 4), (4, 19), (19, 4), (19, 19)}


def test_threads_and_broken_pixels_are_cut() -> None:
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:20] = 1
    mask[15, 20:30] = 1
    depth = np.zeros_like(mask)
    depth[12, 12] = np.nan
    depth[13, 13] = np.inf
    clean = clean_mask(depth, mask)
    assert not clean[15, 21:].any()
    assert clean[12, 12] == clean[13, 13] == 0
    assert clean[20, 10] == 1


def test_shoulders_far_behind_the_eyes_are_cut() -> None:
    mask = np.ones((32, 32), np.float32)
    depth = np.zeros_like(mask)
    depth[24:] = 1.5
    clean = clean_mask(depth, mask)
    assert not clean[24:].any()
    assert clean[:23].all()


def test_the_crop_border_is_no_silhouette() -> None:
    mask = np.ones((16, 16), np.float32)
    np.testing.assert_array_equal(clean_mask(mask * 0, mask), mask)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 20), seed=st.integers(0, 1000))
def test_a_clean_mask_is_part_of_the_mask_in_one_piece(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((size, size)).astype(np.float32) ** 0.3
    mask[rng.random((size, size)) < 0.05] = np.nan
    clean = clean_mask(np.zeros_like(mask), mask)
    kept = clean > 0
    np.testing.assert_array_equal(clean[kept], mask[kept])
    assert (mask[kept] >= 0.5).all()
    reached = np.zeros_like(kept)
    if kept.any():
        reached[tuple(np.argwhere(kept)[0])] = True
    for _ in range(size * size):
        reached[1:] |= reached[:-1] & kept[1:]
        reached[:-1] |= reached[1:] & kept[:-1]
        reached[:, 1:] |= reached[:, :-1] & kept[:, 1:]
        reached[:, :-1] |= reached[:, 1:] & kept[:, :-1]
    np.testing.assert_array_equal(reached, kept)


def test_the_jump_is_the_seeds_up_to_128_and_a_slope_above() -> None:
    assert depth_jump(64) == depth_jump(128) == pytest.approx(0.1)
    assert depth_jump(256) == pytest.approx(0.05)
