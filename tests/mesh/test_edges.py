"""Rims are smooth, and a blurred step leaves nothing between its two surfaces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh.mesh_samples import coordinates

from stream.mesh.edges import MAX_SHIFT, smooth_rims
from stream.mesh.silhouette import depth_jump


def rim_roughness(depth: np.ndarray, head: np.ndarray) -> float:
    """Mean absolute second difference, row by row, of the depth at the head's right end."""
    last = head.shape[1] - 1 - np.argmax(head[:, ::-1], axis=1)
    rows = np.flatnonzero(head.any(axis=1))
    ends = depth[rows, last[rows]]
    return float(np.abs(np.diff(ends, 2)).mean())


def test_saw_teeth_of_a_slanted_outline_go() -> None:
    x, y = coordinates(64)
    depth = (3.0 * x).astype(np.float32)
    head = x < 0.2 + 0.25 * y  # one column every four rows
    smooth, kept = smooth_rims(depth, head, depth_jump(64))
    np.testing.assert_array_equal(kept, head)
    before, after = rim_roughness(depth, head), rim_roughness(smooth, head)
    assert before > 0.04
    assert after < 0.3 * before
    # Away from the rim nothing changes.
    inner = x < -0.15 + 0.25 * y
    np.testing.assert_array_equal(smooth[inner], depth[inner])


def test_an_even_outline_stays() -> None:
    x, y = coordinates(48)
    depth = (0.7 * y).astype(np.float32)
    head = np.abs(x) < 0.5
    smooth, kept = smooth_rims(depth, head, 0.1)
    assert kept.sum() == head.sum()
    # Only in the top and bottom rows, where the window ends, is the mean not the pixel's own depth.
    np.testing.assert_allclose(smooth[6:-6], depth[6:-6], atol=1e-6)


def test_what_hangs_in_a_blurred_step_is_cut_and_its_rims_are_apart() -> None:
    depth = np.zeros((32, 32), np.float32)
    depth[:, 14:18] = [0.12, 0.24, 0.36, 0.48]
    depth[:, 18:] = 0.6
    smooth, kept = smooth_rims(depth, np.ones((32, 32), bool), 0.1)
    expected = np.ones(32, bool)
    expected[14:18] = False
    np.testing.assert_array_equal(kept, np.broadcast_to(expected, (32, 32)))
    np.testing.assert_allclose(smooth[:, :14], 0, atol=1e-6)
    np.testing.assert_allclose(smooth[:, 18:], 0.6, atol=1e-6)


def test_a_step_between_two_pixels_loses_none() -> None:
    depth = np.zeros((16, 16), np.float32)
    depth[:, 8:] = 0.5
    smooth, kept = smooth_rims(depth, np.ones((16, 16), bool), 0.1)
    assert kept.all()
    np.testing.assert_allclose(smooth, depth, atol=1e-6)


def test_an_outlier_does_not_pull_and_is_not_pulled() -> None:
    x, _ = coordinates(32)
    head = x < 0
    depth = np.zeros((32, 32), np.float32)
    depth[10, 15] = 5.0
    smooth, _ = smooth_rims(depth, head, 0.1)
    assert smooth[10, 15] == 5.0
    assert np.abs(np.delete(smooth.ravel(), 10 * 32 + 15)).max() < MAX_SHIFT


@settings(max_examples=30, deadline=None, derandomize=True)
@given(size=st.integers(1, 24), seed=st.integers(0, 999))
def test_only_the_head_changes_and_only_a_little(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.normal(0, 0.2, (size, size)).astype(np.float32)
    head = rng.random((size, size)) < 0.7
    depth[~head & (rng.random((size, size)) < 0.3)] = np.nan
    given_depth = depth.copy()
    depth.setflags(write=False)
    smooth, kept = smooth_rims(depth, head, 0.1)
    assert smooth.dtype == np.float32
    assert not (kept & ~head).any()
    np.testing.assert_array_equal(smooth[~kept], given_depth[~kept])
    assert np.abs(smooth[kept] - given_depth[kept]).max(initial=0) < MAX_SHIFT


def test_the_order_of_the_axes_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    depth = rng.normal(0, 0.1, (40, 40)).astype(np.float32)
    head = rng.random((40, 40)) < 0.8
    there, kept = smooth_rims(depth, head, 0.1)
    back, kept_back = smooth_rims(depth.T, head.T, 0.1)
    np.testing.assert_array_equal(kept, kept_back.T)
    np.testing.assert_allclose(there, back.T, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_maps_pass(size: int) -> None:
    depth = np.zeros((size, size), np.float32)
    smooth, kept = smooth_rims(depth, np.ones((size, size), bool), 0.1)
    np.testing.assert_array_equal(smooth, 0)
    assert kept.all()
