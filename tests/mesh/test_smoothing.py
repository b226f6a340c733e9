"""Temporal smoothing: still faces calm down, motion is followed, pasts are forgotten in time."""

import numpy as np
import pytest

from stream.errors import InputError
from stream.mesh.smoothing import MAX_GAP, DepthSmoother
from stream.types import Array, Depth

FRAME = 1 / 30


def noisy(rng: np.random.Generator, base: Array, sigma: float, mask_sigma: float = 0.0) -> Depth:
    mask = 0.5 + rng.normal(0, mask_sigma, base.shape)
    return Depth((base + rng.normal(0, sigma, base.shape)).astype(np.float32), mask.astype(np.float32))


def test_noise_variance_on_a_still_face_falls_at_least_fourfold() -> None:
    rng, smoother = np.random.default_rng(0), DepthSmoother()
    base = rng.normal(0, 0.3, (32, 32))
    before, after = [], []
    for k in range(120):
        depth = noisy(rng, base, 0.004, 0.05)
        smooth = smoother(1, k * FRAME, depth)
        before.append(depth)
        after.append(smooth)
    for name in ("map", "mask"):
        raw = np.var([getattr(d, name) for d in before[30:]], axis=0).mean()
        calm = np.var([getattr(d, name) for d in after[30:]], axis=0).mean()
        assert calm < raw / 4
    # Averaging moves nothing: the mean stays where the face is.
    assert abs(np.mean([d.map for d in after[30:]], axis=0) - base).max() < 0.002


@pytest.mark.parametrize("step", [0.03, -0.05, 0.4])
def test_a_step_is_followed_within_one_frame(step: float) -> None:
    rng, smoother = np.random.default_rng(1), DepthSmoother()
    base = np.zeros((16, 16))
    for k in range(20):
        smoother(1, k * FRAME, noisy(rng, base, 0.001))
    base[4:9, 4:9] = step
    after = smoother(1, 20 * FRAME, noisy(rng, base, 0.001)).map
    assert (after[4:9, 4:9] / step).mean() > 0.9
    assert abs(after[10:]).max() < 0.004


def test_a_mask_edge_that_moves_is_followed_at_once() -> None:
    smoother, depth = DepthSmoother(), np.zeros((8, 8), np.float32)
    smoother(1, 0.0, Depth(depth, np.zeros_like(depth)))
    np.testing.assert_array_equal(smoother(1, FRAME, Depth(depth, np.ones_like(depth))).mask, 1)


def test_slow_motion_lags_by_less_than_a_millimetre() -> None:
    smoother = DepthSmoother()
    for k in range(60):
        truth = np.full((4, 4), 0.005 * k, np.float32)
        after = smoother(1, k * FRAME, Depth(truth, np.ones_like(truth))).map
    assert 0 < (truth - after).max() < 0.01


def constant(value: float, size: int = 4) -> Depth:
    return Depth(np.full((size, size), value, np.float32), np.ones((size, size), np.float32))


@pytest.mark.parametrize(
    ("track", "seconds", "size"),
    [(2, 1 + FRAME, 4), (1, 1 + MAX_GAP + 0.01, 4), (1, 0.9, 4), (1, 1.0, 4), (1, 1 + FRAME, 5)],
    ids=["new track", "gap", "clock back", "clock still", "other size"],
)
def test_the_past_is_dropped(track: int, seconds: float, size: int) -> None:
    smoother = DepthSmoother()
    smoother(1, 1.0, constant(0.0))
    np.testing.assert_array_equal(smoother(track, seconds, constant(0.01, size)).map, np.float32(0.01))


def test_the_past_counts_within_the_gap() -> None:
    smoother = DepthSmoother()
    smoother(1, 1.0, constant(0.0))
    assert 0 < smoother(1, 1.0 + FRAME, constant(0.01)).map.max() < 0.006


def test_tracks_do_not_mix_and_old_ones_are_forgotten() -> None:
    smoother = DepthSmoother()
    for k in range(1000):
        smoother(k, k * 0.1, constant(0.0))
    assert len(smoother._pasts) <= MAX_GAP / 0.1 + 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_broken_pixel_does_not_reach_into_later_frames(broken: float) -> None:
    smoother = DepthSmoother()
    smoother(1, 0.0, constant(0.1))
    bad = constant(0.1)
    bad.map[1, 1] = bad.mask[2, 2] = broken
    during = smoother(1, FRAME, bad)
    assert np.isfinite(during.map).sum() == 15
    after = smoother(1, 2 * FRAME, constant(0.1))
    np.testing.assert_allclose(after.map, 0.1)
    np.testing.assert_allclose(after.mask, 1)


def test_inputs_stay_as_they_were() -> None:
    smoother, first, second = DepthSmoother(), constant(0.0), constant(0.01)
    for array in (first.map, first.mask, second.map, second.mask):
        array.setflags(write=False)
    smoother(1, 0.0, first)
    smoother(1, FRAME, second)
    assert first.map.max() == 0
    assert second.map.min() == np.float32(0.01)


def test_bad_input_is_refused() -> None:
    smoother = DepthSmoother()
    with pytest.raises(InputError):
        smoother(1, 0.0, Depth(np.zeros((4, 4), np.float32), np.zeros((5, 5), np.float32)))
    with pytest.raises(InputError):
        smoother(1, float("nan"), constant(0.0))
