"""The mask's rim: islands, threads and steps."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.numba_twin.rims import pieces
from stream.mesh.silhouette import clean_mask, depth_jump


def corners_only(changed: np.ndarray, square: slice) -> bool:
    """Whether all that changed lies within two pixels of a square's corners, which the majority rounds."""
    last = square.stop - 1
    corners = np.array([(a, b) for a in (square.start, last) for b in (square.start, last)])
    places = np.argwhere(changed)
    return bool((np.abs(places[:, None] - corners).sum(axis=2).min(axis=1, initial=99) <= 2).all())


def test_specks_beside_the_face_go() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[10:50, 10:50] = 0.9
    mask[54:60, 54:60] = 1.0
    mask[50:54, 50:54] = 0.8  # touches the first only at a corner
    clean = clean_mask(np.zeros_like(mask), mask)
    expected = np.zeros_like(mask)
    expected[10:50, 10:50] = 0.9
    assert corners_only(clean != expected, slice(10, 50))


def test_a_large_piece_of_the_same_face_stays_and_a_neighbours_goes() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[4:34, 12:52] = 1
    mask[42:56, 20:44] = 1  # mouth and chin below a hand
    mask[20:44, 56:64] = 1  # somebody else
    clean = clean_mask(np.zeros_like(mask), mask)
    assert clean[44:54, 22:42].all()
    assert not clean[:, 56:].any()


def test_small_holes_are_filled_and_large_or_open_ones_stay() -> None:
    mask = np.full((64, 64), 0.9, np.float32)
    mask[20:22, 20:22] = 0.1
    mask[40:46, 40:46] = 0.1
    mask[0:2, 30:32] = 0.1
    clean = clean_mask(np.zeros_like(mask), mask)
    np.testing.assert_array_equal(clean[20:22, 20:22], 1)
    np.testing.assert_array_equal(clean[40:46, 40:46], 0)
    assert not clean[0, 30:32].any()
    assert corners_only(clean[38:48, 38:48] == 0, slice(2, 8)) or (clean[38:48, 38:48] == 0).sum() >= 36
    confidence = np.ones_like(mask)
    confidence[19:23, 19:23] = 0.2
    assert not clean_mask(np.zeros_like(mask), mask, confidence)[20:22, 20:22].any()
    confidence[:] = np.nan
    assert not clean_mask(np.zeros_like(mask), mask, confidence)[20:22, 20:22].any()


@pytest.mark.parametrize(("side", "filled"), [(3, True), (4, True), (5, False), (6, False)])
def test_how_large_a_hole_may_be(side: int, filled: bool) -> None:
    """0.4 % of a head of 64 x 64 pixels are 16."""
    mask = np.ones((64, 64), np.float32)
    mask[30 : 30 + side, 30 : 30 + side] = 0
    clean = clean_mask(np.zeros_like(mask), mask)
    assert clean[31, 31] == filled


def test_an_outline_with_teeth_is_rounded() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[8:56, 8:40] = 1
    mask[8:56:3, 40:43] = 1  # teeth one pixel high, three long
    clean = clean_mask(np.zeros_like(mask), mask)
    assert not clean[:, 41:].any()


def test_threads_and_broken_pixels_are_cut() -> None:
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:20] = 1
    mask[15, 20:30] = 1
    depth = np.zeros_like(mask)
    depth[12, 12] = np.nan
    depth[16, 13] = np.inf
    clean = clean_mask(depth, mask)
    assert not clean[15, 21:].any()
    assert clean[12, 12] == clean[16, 13] == 0
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


@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_clean_mask_is_part_of_the_mask_and_its_small_holes(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((size, size)).astype(np.float32) ** 0.2
    mask[rng.random((size, size)) < 0.02] = np.nan
    depth = np.zeros_like(mask)
    depth[rng.random((size, size)) < 0.02] = np.nan
    clean = clean_mask(depth, mask)
    assert np.isfinite(clean).all()
    assert (clean[np.isnan(depth)] == 0).all()
    kept = (clean > 0) & (mask >= 0.5)
    np.testing.assert_array_equal(clean[kept], mask[kept])
    added = (clean > 0) & ~kept
    np.testing.assert_array_equal(clean[added], 1)


def test_the_jump_is_the_seeds_up_to_128_and_a_slope_above() -> None:
    assert depth_jump(64) == depth_jump(128) == pytest.approx(0.1)
    assert depth_jump(256) == pytest.approx(0.05)


@pytest.mark.parametrize("share", [0.3, 0.59, 0.8])
@pytest.mark.parametrize("size", [1, 2, 17, 64])
def test_pieces_are_those_of_opencv(size: int, share: float) -> None:
    solid = (np.random.default_rng(size).random((size, size)) < share).astype(np.uint8)
    labels, sums = np.empty((size, size), np.int32), np.empty((size * (size + 1) // 2 + 1, 3), np.int64)
    count = pieces(solid, labels, sums)
    expected, wanted, stats, middles = cv2.connectedComponentsWithStats(solid, connectivity=4)
    assert count == expected
    # The same pieces, whatever their numbers: each of one's is exactly one of the other's.
    assert len(np.unique(labels.astype(np.int64) * count + wanted)) == len(np.unique(wanted))
    order = [wanted[labels == label][0] for label in range(1, count)]
    np.testing.assert_array_equal(sums[1:count, 0], stats[order, cv2.CC_STAT_AREA])
    np.testing.assert_allclose(sums[1:count, 1:] / sums[1:count, :1], middles[order])
