"""The mask's part of `mend_surface`: islands, threads and holes, the same at every place."""

from typing import Any

import cv2
import numpy as np
import pytest
from compute.host_driver import BackwardsDriver, HostDriver, compiler
from compute.places import every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.cuda.arrays import DeviceArray, empty, to_device, to_host
from stream.compute.cuda.current import current_driver, use_driver
from stream.compute.mend_surface import (
    FARTHEST,
    MAX_HOLE,
    MIN_PIECE,
    PIECE_REACH,
    SURE,
    SurfaceBatch,
    mend_surface,
    scratch_words,
    surface_buffers,
)
from stream.compute.numba_twin.pieces import pieces
from stream.errors import InputError
from stream.types import Array

JUMP = 0.1

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def clean_mask(depth: Array, mask: Array, confidence: Array | None = None, place: str = "numba") -> Array:
    """Alpha of one map."""
    sure = None if confidence is None else confidence[None]
    with place_for(place) as compute:
        return mend_surface(depth[None], mask[None], JUMP, sure, compute=compute).alpha[0]


def clean_mask_by_opencv(depth: Array, mask: Array, confidence: Array) -> Array:
    """The same by OpenCV, but for the cutting at edges."""
    near = np.abs(depth) < FARTHEST
    solid = (mask >= 0.5) & near
    filled = solid.astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - filled, connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    for label in set(range(1, count)) - set(border):
        inside = labels == label
        sure = np.clip(np.nan_to_num(confidence[inside], nan=0.0), 0, 1).mean(dtype=np.float64) >= SURE
        filled[inside] = sure and stats[label, cv2.CC_STAT_AREA] <= MAX_HOLE * solid.sum()
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, CROSS)
    around = cv2.boxFilter(opened, -1, (5, 5), normalize=False, borderType=cv2.BORDER_REPLICATE)
    smooth = opened & (around >= 13)
    count, labels, stats, middles = cv2.connectedComponentsWithStats(smooth, connectivity=4)
    area, clean = stats[:, cv2.CC_STAT_AREA], np.zeros_like(mask)
    if count == 1:
        return clean
    largest = 1 + int(np.argmax(area[1:]))
    away = np.hypot(*((2 * middles + 1) / len(mask) - 1).T)
    kept = (area >= MIN_PIECE * area[largest]) & (away < PIECE_REACH)
    kept[largest], kept[0] = True, False
    return np.where(kept[labels] & near, np.where(solid, mask, np.float32(1)), np.float32(0))


def ragged_maps(maps: int, size: int, seed: int) -> tuple[Array, Array, Array]:
    """Depth, mask and confidence of heads with winding outlines, holes of all sizes and broken pixels."""
    rng = np.random.default_rng(seed)
    shape = (maps, size, size)
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    radius = np.hypot(axis[:, None], axis)
    rough = np.stack([cv2.GaussianBlur(rng.normal(0, 1, shape[1:]), (0, 0), 0.5 + n) for n in range(maps)])
    rough *= 3 / max(rough.std(), 0.1)
    mask = 1 / (1 + np.exp(20 * (radius - 0.8) - rough - rng.uniform(-3, 3, (maps, 1, 1))))
    depth = 0.4 * radius**2 + rng.normal(0, 0.02, shape)
    depth[rng.random(shape) < 0.002] = np.nan
    mask[rng.random(shape) < 0.002] = np.nan
    confidence = np.clip(rng.normal(0.5, 0.4, shape), -0.1, 1.2)
    confidence[rng.random(shape) < 0.01] = np.nan
    return depth.astype(np.float32), mask.astype(np.float32), confidence.astype(np.float32)


def corners_only(changed: np.ndarray, square: slice) -> bool:
    """Whether all that changed lies within two pixels of a square's corners, which the majority rounds."""
    last = square.stop - 1
    corners = np.array([(a, b) for a in (square.start, last) for b in (square.start, last)])
    places = np.argwhere(changed)
    return bool((np.abs(places[:, None] - corners).sum(axis=2).min(axis=1, initial=99) <= 2).all())


@every_place
def test_specks_beside_the_face_go(place: str) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[10:50, 10:50] = 0.9
    mask[54:60, 54:60] = 1.0
    mask[50:54, 50:54] = 0.8  # touches the first only at a corner
    clean = clean_mask(np.zeros_like(mask), mask, place=place)
    expected = np.zeros_like(mask)
    expected[10:50, 10:50] = 0.9
    assert corners_only(clean != expected, slice(10, 50))


@every_place
def test_a_large_piece_of_the_same_face_stays_and_a_neighbours_goes(place: str) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[4:34, 12:52] = 1
    mask[42:56, 20:44] = 1  # mouth and chin below a hand
    mask[20:44, 56:64] = 1  # somebody else
    clean = clean_mask(np.zeros_like(mask), mask, place=place)
    assert clean[44:54, 22:42].all()
    assert not clean[:, 56:].any()


@every_place
def test_small_holes_are_filled_and_large_or_open_ones_stay(place: str) -> None:
    mask = np.full((64, 64), 0.9, np.float32)
    mask[20:22, 20:22] = 0.1
    mask[40:46, 40:46] = 0.1
    mask[0:2, 30:32] = 0.1
    clean = clean_mask(np.zeros_like(mask), mask, place=place)
    np.testing.assert_array_equal(clean[20:22, 20:22], 1)
    np.testing.assert_array_equal(clean[40:46, 40:46], 0)
    assert not clean[0, 30:32].any()
    assert corners_only(clean[38:48, 38:48] == 0, slice(2, 8)) or (clean[38:48, 38:48] == 0).sum() >= 36
    confidence = np.ones_like(mask)
    confidence[19:23, 19:23] = 0.2
    assert not clean_mask(np.zeros_like(mask), mask, confidence, place=place)[20:22, 20:22].any()
    confidence[:] = np.nan
    assert not clean_mask(np.zeros_like(mask), mask, confidence, place=place)[20:22, 20:22].any()


@every_place
@pytest.mark.parametrize(("side", "filled"), [(3, True), (4, True), (5, False), (6, False)])
def test_how_large_a_hole_may_be(place: str, side: int, filled: bool) -> None:
    """0.4 % of a head of 64 x 64 pixels are 16."""
    mask = np.ones((64, 64), np.float32)
    mask[30 : 30 + side, 30 : 30 + side] = 0
    clean = clean_mask(np.zeros_like(mask), mask, place=place)
    assert clean[31, 31] == filled


@every_place
def test_an_outline_with_teeth_is_rounded(place: str) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[8:56, 8:40] = 1
    mask[8:56:3, 40:43] = 1  # teeth one pixel high, three long
    clean = clean_mask(np.zeros_like(mask), mask, place=place)
    assert not clean[:, 41:].any()


@every_place
def test_threads_and_broken_pixels_are_cut(place: str) -> None:
    mask = np.zeros((32, 32), np.float32)
    mask[8:24, 8:20] = 1
    mask[15, 20:30] = 1
    depth = np.zeros_like(mask)
    depth[12, 12] = np.nan
    depth[16, 13] = np.inf
    clean = clean_mask(depth, mask, place=place)
    assert not clean[15, 21:].any()
    assert clean[12, 12] == clean[16, 13] == 0
    assert clean[20, 10] == 1


@every_place
def test_shoulders_far_behind_the_eyes_are_cut(place: str) -> None:
    mask = np.ones((32, 32), np.float32)
    depth = np.zeros_like(mask)
    depth[24:] = 1.5
    clean = clean_mask(depth, mask, place=place)
    assert not clean[24:].any()
    assert clean[:23].all()


@every_place
def test_the_crop_border_is_no_silhouette(place: str) -> None:
    mask = np.ones((16, 16), np.float32)
    np.testing.assert_array_equal(clean_mask(mask * 0, mask, place=place), mask)


@every_place
@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_clean_mask_is_part_of_the_mask_and_its_small_holes(place: str, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((size, size)).astype(np.float32) ** 0.2
    mask[rng.random((size, size)) < 0.02] = np.nan
    depth = np.zeros_like(mask)
    depth[rng.random((size, size)) < 0.02] = np.nan
    clean = clean_mask(depth, mask, place=place)
    assert np.isfinite(clean).all()
    assert (clean[np.isnan(depth)] == 0).all()
    kept = (clean > 0) & (mask >= 0.5)
    np.testing.assert_array_equal(clean[kept], mask[kept])
    added = (clean > 0) & ~kept
    np.testing.assert_array_equal(clean[added], 1)


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


@every_place
@settings(max_examples=25, deadline=None, derandomize=True)
@given(maps=st.integers(1, 4), size=st.integers(1, 80), seed=st.integers(0, 10_000))
def test_it_is_what_opencv_makes_of_each_map(place: str, maps: int, size: int, seed: int) -> None:
    depth, mask, confidence = ragged_maps(maps, size, seed)
    with place_for(place) as compute:
        # A jump that nothing reaches: no edges but the outline, so nothing is cut afterwards.
        made = mend_surface(depth, mask, 100.0, confidence, compute=compute)
    for n in range(maps):
        expected = clean_mask_by_opencv(depth[n], mask[n], confidence[n])
        np.testing.assert_array_equal(made.alpha[n], expected)
        assert np.isfinite(made.depth[n][made.alpha[n] > 0]).all()


def device_drivers() -> list[HostDriver]:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    return [HostDriver(), BackwardsDriver()]


@pytest.mark.parametrize("size", [1, 2, 33, 128, 192])
def test_it_is_the_same_to_the_last_bit_whatever_the_order_of_threads(size: int) -> None:
    depth, mask, confidence = ragged_maps(3, size, size)
    mask[2] = np.random.default_rng(size).random((size, size)) < 0.6  # winding pieces
    expected = mend_surface(depth, mask, JUMP, confidence, compute="numba")
    for driver in device_drivers():
        with use_driver(driver):
            made = mend_surface(depth, mask, JUMP, confidence, compute="cuda")
        np.testing.assert_array_equal(made.alpha, expected.alpha)
        np.testing.assert_array_equal(made.depth, expected.depth)


@pytest.mark.parametrize("place", ["host", "cuda"])
def test_nothing_is_written_outside_the_buffers_which_can_be_used_again(place: str) -> None:
    maps, size, guard = 2, 50, 64
    with place_for(place):
        driver = current_driver()
        wholes, parts = [], []
        spec = [((maps, size, size), np.float32)] * 2 + [((maps, scratch_words(size)), np.uint64)]
        for shape, dtype in spec:
            whole = empty(driver, (int(np.prod(shape)) * np.dtype(dtype).itemsize + 2 * guard,), np.uint8)
            driver.fill(whole.pointer, 0xAB, whole.nbytes, driver.default_stream)
            wholes.append(whole)
            parts.append(DeviceArray(whole.pointer + guard, shape, np.dtype(dtype), whole))
        for seed in (1, 2, 1):
            given = ragged_maps(maps, size, seed)
            depth, mask, confidence = (to_device(driver, array) for array in given)
            made = mend_surface(depth, mask, JUMP, confidence, SurfaceBatch(*parts))
            expected = mend_surface(*given[:2], JUMP, given[2], compute="numba")
            np.testing.assert_array_equal(to_host(driver, made.alpha), expected.alpha)
            np.testing.assert_array_equal(to_host(driver, made.depth), expected.depth)
        for whole in wholes:
            filled = to_host(driver, whole)
            assert (filled[:guard] == 0xAB).all()
            assert (filled[-guard:] == 0xAB).all()


@every_place
def test_buffers_on_the_host_are_filled(place: str) -> None:
    depth, mask, _ = ragged_maps(2, 40, 3)
    out = surface_buffers(2, 40)
    with place_for(place) as compute:
        made = mend_surface(depth, mask, JUMP, out=out, compute=compute)
    np.testing.assert_array_equal(made.alpha, mend_surface(depth, mask, JUMP, compute="numba").alpha)
    assert np.shares_memory(made.alpha, out.alpha)
    assert np.shares_memory(made.first(1).depth, out.depth)


GOOD = ragged_maps(2, 8, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": GOOD[0][0]},
        {"depth": GOOD[0].astype(np.float64)},
        {"depth": GOOD[0][:0], "mask": GOOD[1][:0]},
        {"depth": GOOD[0][:, :4]},
        {"mask": GOOD[1][:1]},
        {"mask": GOOD[1].tolist()},
        {"confidence": GOOD[2][:, :4]},
        {"jump": 0.0},
        {"jump": np.nan},
        {"out": surface_buffers(2, 9)},
        {"out": surface_buffers(3, 8)},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"depth": GOOD[0], "mask": GOOD[1], "jump": JUMP} | changes
    with pytest.raises(InputError):
        mend_surface(**arguments, compute="numba")


def test_buffers_on_the_device_need_their_scratch() -> None:
    with use_driver(device_drivers()[0]) as driver:
        depth, mask = (to_device(driver, array) for array in GOOD[:2])
        out = SurfaceBatch(*(empty(driver, (2, 8, 8), np.float32) for _ in range(2)))
        with pytest.raises(InputError, match="scratch"):
            mend_surface(depth, mask, JUMP, out=out)
