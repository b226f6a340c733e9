"""The edges' part of `mend_surface`: smooth rims, and nothing that hangs between the two sides of a step."""

import numpy as np
import pytest
from compute.places import every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh.mesh_samples import coordinates

from stream.compute.mend_surface import MAX_SHIFT, RIM_REACH, mend_surface
from stream.types import Array


def smooth_rims(depth: Array, head: Array, place: str, jump: float = 0.1) -> tuple[Array, Array]:
    """The depth, and where it counts, of one map."""
    with place_for(place) as compute:
        made = mend_surface(depth[None], head[None].astype(np.float32), jump, compute=compute)
    return made.depth[0], made.alpha[0] > 0


def rim_roughness(depth: Array, head: Array) -> float:
    """Mean absolute second difference, row by row, of the depth at the head's right end."""
    last = head.shape[1] - 1 - np.argmax(head[:, ::-1], axis=1)
    rows = np.flatnonzero(head.any(axis=1))
    ends = depth[rows, last[rows]]
    return float(np.abs(np.diff(ends, 2)).mean())


@every_place
def test_saw_teeth_of_a_slanted_outline_go(place: str) -> None:
    x, y = coordinates(64)
    depth = np.clip(3.0 * x, -1.1, 1.1).astype(np.float32)
    head = x < 0.2 + 0.1 * y  # one column every ten rows
    smooth, kept = smooth_rims(depth, head, place)
    np.testing.assert_array_equal(kept, head)
    before, after = rim_roughness(depth, head), rim_roughness(smooth, head)
    assert before > 0.015
    assert after < 0.3 * before
    # Away from the rim nothing changes.
    inner = x < -0.15 + 0.1 * y
    np.testing.assert_array_equal(smooth[inner], depth[inner])


@every_place
def test_an_even_outline_stays(place: str) -> None:
    x, y = coordinates(48)
    depth = (0.7 * y).astype(np.float32)
    head = np.abs(x) < 0.5
    smooth, kept = smooth_rims(depth, head, place)
    np.testing.assert_array_equal(kept, head)
    # Only in the top and bottom rows, where the window ends, is the mean not the pixel's own depth.
    np.testing.assert_allclose(smooth[6:-6], depth[6:-6], atol=1e-6)


@every_place
def test_what_hangs_in_a_blurred_step_is_cut_and_its_rims_are_apart(place: str) -> None:
    depth = np.zeros((32, 32), np.float32)
    depth[:, 14:18] = [0.12, 0.24, 0.36, 0.48]
    depth[:, 18:] = 0.6
    smooth, kept = smooth_rims(depth, np.ones((32, 32), bool), place)
    expected = np.ones(32, bool)
    expected[14:18] = False
    np.testing.assert_array_equal(kept, np.broadcast_to(expected, (32, 32)))
    np.testing.assert_allclose(smooth[:, :14], 0, atol=1e-6)
    np.testing.assert_allclose(smooth[:, 18:], 0.6, atol=1e-6)


@every_place
def test_a_step_between_two_pixels_loses_none(place: str) -> None:
    depth = np.zeros((16, 16), np.float32)
    depth[:, 8:] = 0.5
    smooth, kept = smooth_rims(depth, np.ones((16, 16), bool), place)
    assert kept.all()
    np.testing.assert_allclose(smooth, depth, atol=1e-6)


@every_place
def test_an_outlier_does_not_pull_and_is_not_pulled(place: str) -> None:
    x, _ = coordinates(32)
    head = x < 0
    depth = np.zeros((32, 32), np.float32)
    depth[10, 15] = 1.1
    smooth, _ = smooth_rims(depth, head, place)
    assert smooth[10, 15] == np.float32(1.1)
    assert np.abs(np.delete(smooth.ravel(), 10 * 32 + 15)).max() < MAX_SHIFT


def rims_by_definition(depth: Array, head: Array, jump: float) -> tuple[Array, Array]:
    """Pixel by pixel, in float64 but for the steps."""
    size = len(depth)
    flat = np.pad(np.where(head, depth, np.float32(1e3)), 1, mode="edge")
    step = np.float32(jump)
    ways = [
        (there >= flat[1:-1, 1:-1] + step).astype(int) - (flat[1:-1, 1:-1] >= there + step)
        for there in (flat[1:-1, :-2], flat[1:-1, 2:], flat[:-2, 1:-1], flat[2:, 1:-1])
    ]
    kept = head & (ways[0] * ways[1] >= 0) & (ways[2] * ways[3] >= 0)
    near = kept & (np.max(ways, axis=0) > 0)
    far = kept & (np.min(ways, axis=0) < 0) & ~near
    result = depth.copy()
    for kind in (near, far):
        for i, j in np.argwhere(kind):
            window = (
                slice(max(i - RIM_REACH, 0), min(i + RIM_REACH + 1, size)),
                slice(max(j - RIM_REACH, 0), min(j + RIM_REACH + 1, size)),
            )
            mean = depth[window][kind[window]].astype(np.float64).mean()
            if abs(mean - depth[i, j]) < MAX_SHIFT:
                result[i, j] = mean
    return result, kept


@every_place
@settings(max_examples=20, deadline=None, derandomize=True)
@given(size=st.integers(1, 40), seed=st.integers(0, 999), roughness=st.sampled_from([0.02, 0.05, 0.2]))
def test_it_is_its_definition(place: str, size: int, seed: int, roughness: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = coordinates(size)
    depth = np.clip(rng.normal(0, roughness, (size, size)) + 0.3 * x, -1.1, 1.1).astype(np.float32)
    depth.setflags(write=False)
    head = np.hypot(x, y) < rng.uniform(0.5, 1.5)
    cleaned = smooth_rims(np.zeros_like(depth), head, place)[1]
    expected, wanted = rims_by_definition(depth, cleaned, 0.1)
    smooth, kept = smooth_rims(depth, head, place)
    np.testing.assert_array_equal(kept, wanted)
    np.testing.assert_allclose(smooth, expected, atol=1e-6)


@every_place
def test_the_order_of_the_axes_does_not_matter(place: str) -> None:
    rng = np.random.default_rng(5)
    depth = rng.normal(0, 0.1, (40, 40)).astype(np.float32)
    head = np.hypot(*coordinates(40)) < 0.9
    there, kept = smooth_rims(depth, head, place)
    back, kept_back = smooth_rims(depth.T, head.T, place)
    np.testing.assert_array_equal(kept, kept_back.T)
    np.testing.assert_allclose(there, back.T, atol=1e-5)


@every_place
@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_maps_pass(place: str, size: int) -> None:
    depth = np.zeros((size, size), np.float32)
    smooth, kept = smooth_rims(depth, np.ones((size, size), bool), place)
    np.testing.assert_array_equal(smooth, 0)
    assert kept.all()
