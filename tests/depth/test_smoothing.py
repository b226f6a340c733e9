"""Temporal smoothing: still faces calm down, motion is followed, pasts are forgotten in time."""

import cv2
import numpy as np
import pytest

from stream.compute.smooth_depth import DEPTH_CHANGE
from stream.depth.smoothing import MAX_GAP, DepthSmoother
from stream.errors import InputError
from stream.types import Array, Depth

FRAME = 1 / 30
PICTURE_SIDE = 128
GREY = np.full((PICTURE_SIDE, PICTURE_SIDE, 3), 128, np.uint8)


def noisy(rng: np.random.Generator, base: Array, sigma: float, mask_sigma: float = 0.0) -> Depth:
    mask = 0.8 + rng.normal(0, mask_sigma, base.shape)
    return Depth((base + rng.normal(0, sigma, base.shape)).astype(np.float32), mask.astype(np.float32))


def webcam(rng: np.random.Generator, picture: Array = GREY, sigma: float = 6.0) -> Array:
    noise = rng.normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def textured() -> Array:
    rows = np.random.default_rng(9).integers(40, 216, (PICTURE_SIDE // 8, PICTURE_SIDE // 8))
    return np.repeat(np.kron(rows, np.ones((8, 8), np.uint8))[..., None], 3, axis=2).astype(np.uint8)


def test_noise_variance_on_a_still_face_falls_at_least_eightfold() -> None:
    rng, smoother = np.random.default_rng(0), DepthSmoother()
    base = rng.normal(0, 0.3, (32, 32))
    before, after = [], []
    for k in range(120):
        depth = noisy(rng, base, 0.0035, 0.05)
        smooth = smoother(k * FRAME, depth, webcam(rng))
        before.append(depth)
        after.append(smooth)
    for name, factor in (("map", 8), ("mask", 4)):
        raw = np.var([getattr(d, name) for d in before[30:]], axis=0).mean()
        calm = np.var([getattr(d, name) for d in after[30:]], axis=0).mean()
        assert calm < raw / factor
    # Averaging moves nothing: the mean stays where the face is.
    assert abs(np.mean([d.map for d in after[30:]], axis=0) - base).max() < 0.002


def test_confidence_and_normals_calm_down_with_the_depth() -> None:
    rng, smoother = np.random.default_rng(2), DepthSmoother()
    raw, calm = [], []
    for k in range(90):
        slopes = 0.5 + rng.normal(0, 0.05, (16, 16, 2))
        normal = np.concatenate([slopes, -np.ones((16, 16, 1))], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        depth = Depth(
            np.zeros((16, 16), np.float32),
            np.ones((16, 16), np.float32),
            (0.7 + rng.normal(0, 0.05, (16, 16))).astype(np.float32),
            normal.astype(np.float32),
        )
        smooth = smoother(k * FRAME, depth, GREY)
        assert smooth.confidence is not None
        assert smooth.normal is not None
        np.testing.assert_allclose(np.linalg.norm(smooth.normal, axis=-1), 1, atol=1e-5)
        raw.append(depth)
        calm.append(smooth)
    for name in ("confidence", "normal"):
        before, after = (np.var([getattr(d, name) for d in ds[30:]], axis=0).mean() for ds in (raw, calm))
        assert after < before / 8


@pytest.mark.parametrize("step", [0.03, -0.04, 0.4])
def test_what_moves_in_the_picture_is_followed_at_once(step: float) -> None:
    rng, smoother = np.random.default_rng(1), DepthSmoother()
    base, picture = np.zeros((16, 16)), textured()
    for k in range(20):
        smoother(k * FRAME, noisy(rng, base, 0.001), webcam(rng, picture))
    base[4:8, 4:8] = step
    picture[32:64, 32:64] = np.roll(picture[32:64, 32:64], 8, axis=1)
    after = smoother(20 * FRAME, noisy(rng, base, 0.001), webcam(rng, picture)).map
    assert (after[4:8, 4:8] / step).mean() > 0.9
    # Far from it the past still counts.
    assert abs(after[12:]).max() < 0.002


def test_a_change_of_depth_the_picture_does_not_show_is_noise() -> None:
    rng, smoother = np.random.default_rng(1), DepthSmoother()
    base, picture = np.zeros((48, 48)), textured()
    for k in range(20):
        smoother(k * FRAME, noisy(rng, base, 0.0), webcam(rng, picture))
    base[20, 20] = 0.01
    after = smoother(20 * FRAME, noisy(rng, base, 0.0), webcam(rng, picture)).map
    assert 0 < after[20, 20] < 0.3 * 0.01


def test_a_large_change_is_motion_even_if_the_picture_does_not_show_it() -> None:
    smoother = DepthSmoother()
    smoother(0.0, constant(0.1), GREY)
    after = smoother(FRAME, constant(0.1 + DEPTH_CHANGE), GREY).map
    np.testing.assert_allclose(after, 0.1 + DEPTH_CHANGE, atol=1e-6)


def test_light_that_flickers_is_no_motion() -> None:
    rng, smoother = np.random.default_rng(3), DepthSmoother()
    base, picture = np.zeros((32, 32)), textured()
    after = []
    for k in range(90):
        lit = np.clip(picture.astype(int) + (12 if k % 2 else 0), 0, 255).astype(np.uint8)
        after.append(smoother(k * FRAME, noisy(rng, base, 0.0035), webcam(rng, lit)).map)
    assert np.var(after[30:], axis=0).mean() < 0.0035**2 / 6


def test_a_camera_with_much_noise_is_learnt() -> None:
    rng, smoother = np.random.default_rng(4), DepthSmoother()
    base, picture = np.zeros((32, 32)), np.full_like(GREY, 128)
    after = [
        smoother(k * FRAME, noisy(rng, base, 0.0035), webcam(rng, picture, 50.0)).map for k in range(150)
    ]
    assert np.var(after[90:], axis=0).mean() < 0.0035**2 / 6


@pytest.mark.parametrize("speed", [0.002, 0.005, 0.02])
def test_motion_the_picture_does_not_show_lags_by_little(speed: float) -> None:
    smoother = DepthSmoother()
    for k in range(60):
        truth = np.full((24, 24), speed * k, np.float32)
        after = smoother(k * FRAME, Depth(truth, np.ones_like(truth)), GREY).map
    # Less than 1.5 mm, whatever the speed; and never ahead.
    assert 0 <= (truth - after).max() < 0.013


def test_a_mask_edge_that_moves_is_followed_at_once() -> None:
    smoother, depth = DepthSmoother(), np.zeros((8, 8), np.float32)
    smoother(0.0, Depth(depth, np.zeros_like(depth)), GREY)
    np.testing.assert_array_equal(smoother(FRAME, Depth(depth, np.ones_like(depth)), GREY).mask, 1)


def constant(value: float, size: int = 4) -> Depth:
    return Depth(np.full((size, size), value, np.float32), np.ones((size, size), np.float32))


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(1 + MAX_GAP + 0.01, 4), (0.9, 4), (1.0, 4), (1 + FRAME, 5)],
    ids=["gap", "clock back", "clock still", "other size"],
)
def test_the_past_is_dropped(seconds: float, size: int) -> None:
    smoother = DepthSmoother()
    smoother(1.0, constant(0.0), GREY)
    after = smoother(seconds, constant(0.01, size), GREY)
    np.testing.assert_array_equal(after.map, np.float32(0.01))


def test_the_past_is_dropped_where_the_network_says_more_or_less_than_before() -> None:
    smoother, sure = DepthSmoother(), constant(0.01)
    smoother(0.0, constant(0.0), GREY)
    depth = smoother(FRAME, Depth(sure.map, sure.mask, sure.mask), GREY)
    np.testing.assert_array_equal(depth.map, sure.map)
    np.testing.assert_array_equal(smoother(2 * FRAME, constant(0.0), GREY).map, 0)


def test_the_past_counts_within_the_gap() -> None:
    smoother = DepthSmoother()
    smoother(1.0, constant(0.0), GREY)
    assert 0 < smoother(1.0 + FRAME, constant(0.01), GREY).map.max() < 0.006


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_broken_pixel_does_not_reach_into_later_frames(broken: float) -> None:
    smoother = DepthSmoother()
    good = constant(0.1)
    normal = np.tile(np.array([0, 0, -1], np.float32), (4, 4, 1))
    smoother(0.0, Depth(good.map, good.mask, good.mask, normal), GREY)
    bad = Depth(good.map.copy(), good.mask.copy(), good.mask.copy(), normal.copy())
    assert bad.confidence is not None
    assert bad.normal is not None
    bad.map[1, 1] = bad.mask[2, 2] = bad.confidence[0, 0] = bad.normal[3, 3, 0] = broken
    during = smoother(FRAME, bad, GREY)
    assert np.isfinite(during.map).sum() == 15
    after = smoother(2 * FRAME, Depth(good.map, good.mask, good.mask, normal), GREY)
    np.testing.assert_allclose(after.map, 0.1)
    np.testing.assert_allclose(after.mask, 1)
    assert after.normal is not None
    np.testing.assert_allclose(after.normal, normal)
    later = smoother(3 * FRAME, Depth(good.map, good.mask, good.mask, normal), GREY)
    assert later.confidence is not None
    np.testing.assert_allclose(later.confidence, 1)


def test_inputs_stay_as_they_were() -> None:
    smoother, first, second = DepthSmoother(), constant(0.0), constant(0.01)
    for array in (first.map, first.mask, second.map, second.mask):
        array.setflags(write=False)
    smoother(0.0, first, GREY)
    smoother(FRAME, second, GREY)
    assert first.map.max() == 0
    assert second.map.min() == np.float32(0.01)


@pytest.mark.parametrize(
    ("depth", "seconds", "picture"),
    [
        (Depth(np.zeros((4, 4), np.float32), np.zeros((5, 5), np.float32)), 0.0, GREY),
        (constant(0.0), float("nan"), GREY),
        (constant(0.0), 0.0, GREY[:-1]),
        (constant(0.0), 0.0, GREY.astype(np.float32)),
        (constant(0.0), 0.0, GREY[:63, :63]),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4))), 0.0, GREY),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), confidence=np.zeros((3, 3))), 0.0, GREY),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), normal=np.zeros((4, 4))), 0.0, GREY),
    ],
)
def test_bad_input_is_refused(depth: Depth, seconds: float, picture: Array) -> None:
    with pytest.raises(InputError):
        DepthSmoother()(seconds, depth, picture)


@pytest.mark.parametrize("side", [64, 96, 192, 256])
def test_the_picture_may_be_of_any_size(side: int) -> None:
    """The one that was cut for the network shows as well where something moves."""
    picture = cv2.resize(textured(), (side, side), interpolation=cv2.INTER_LINEAR)
    moved = picture.copy()
    moved[:, : side // 2] = np.roll(picture, side // 16, axis=0)[:, : side // 2]
    for shown, left_moves in ((picture, False), (moved, True)):
        smoother = DepthSmoother()
        smoother(0.0, constant(0.0, 32), picture)
        smooth = smoother(FRAME, constant(0.01, 32), shown).map
        assert smooth[:, -8:].max() < 0.004
        if left_moves:
            np.testing.assert_allclose(smooth[:, :8], 0.01, atol=1e-3)
        else:
            assert smooth[:, :8].max() < 0.004
