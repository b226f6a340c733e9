"""Depth and normals fused: known surfaces come back, edges hold, bad pixels stay alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.depth.fusion import LENGTH, fuse_normals
from stream.depth.poisson import relax
from stream.errors import InputError
from stream.types import Array, Depth

SIZE = 64


def grid(size: int = SIZE) -> tuple[Array, Array]:
    axis = (2 * np.arange(size) + 1) / size - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def unit_normals(p: Array, q: Array) -> Array:
    normal = np.stack([p, q, -np.ones_like(p)], axis=-1)
    return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)


def wavy(size: int = SIZE) -> tuple[Array, Array]:
    """A smooth surface and its exact normals."""
    x, y = grid(size)
    z = 0.3 * x**2 + 0.2 * y**2 + 0.02 * np.sin(12 * x) * np.cos(10 * y)
    p = 0.6 * x + 0.24 * np.cos(12 * x) * np.cos(10 * y)
    q = 0.4 * y - 0.2 * np.sin(12 * x) * np.sin(10 * y)
    return z.astype(np.float32), unit_normals(p, q)


def full(depth: Array, normal: Array | None, confidence: Array | None = None) -> Depth:
    return Depth(depth.astype(np.float32), np.ones(depth.shape, np.float32), confidence, normal)


def test_a_paraboloid_with_its_own_normals_stays_as_it_is() -> None:
    x, y = grid()
    z = 0.3 * x**2 - 0.2 * y**2 + 0.1 * x * y
    fused = fuse_normals(full(z, unit_normals(0.6 * x + 0.1 * y, -0.4 * y + 0.1 * x)))
    np.testing.assert_allclose(fused.map, z, atol=1e-5)


def test_noise_goes_and_blurred_detail_comes_back() -> None:
    z, normal = wavy()
    x, y = grid()
    blurred = 0.3 * x**2 + 0.2 * y**2
    noise = np.random.default_rng(0).normal(0, 0.006, z.shape)
    fused = fuse_normals(full(blurred + noise, normal), 0.3)
    before, after = np.abs(blurred + noise - z).mean(), np.abs(fused.map - z).mean()
    assert after < 0.25 * before
    # The relief is there again, not just the noise gone.
    relief, found = z - blurred, fused.map - blurred
    assert np.corrcoef(relief.ravel(), found.ravel())[0, 1] > 0.98


def test_the_solver_finds_the_least_squares_solution() -> None:
    """Against a dense solution of the same sums."""
    size = 7
    random = np.random.default_rng(1)
    depth, rise_x, rise_y = random.normal(0, 1, (3, size, size))
    weight, right, down = random.uniform(0.1, 2, (3, size, size))
    right[:, -1] = down[-1] = 0
    right[2, 3] = 0
    rows, wanted = [], []

    def add(strength: float, parts: dict[tuple[int, int], float], value: float) -> None:
        row = np.zeros((size, size))
        for place, sign in parts.items():
            row[place] = sign
        rows.append(np.sqrt(strength) * row.ravel())
        wanted.append(np.sqrt(strength) * value)

    for i in range(size):
        for j in range(size):
            add(weight[i, j], {(i, j): 1.0}, depth[i, j])
            if j + 1 < size:
                add(right[i, j], {(i, j): -1.0, (i, j + 1): 1.0}, rise_x[i, j])
            if i + 1 < size:
                add(down[i, j], {(i, j): -1.0, (i + 1, j): 1.0}, rise_y[i, j])
    expected = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0].reshape(size, size)
    grids = [np.pad(a, 1).astype(np.float32) for a in (depth, weight, rise_x, rise_y, right, down)]
    change = np.zeros_like(grids[0])
    steps = relax(*grids, change, 1e-6, 200)
    assert 0 < steps < 200
    np.testing.assert_allclose(depth + change[1:-1, 1:-1], expected, atol=1e-4)


def test_nothing_bleeds_over_a_step() -> None:
    x, _ = grid()
    right = x > 0
    step = np.where(right, 0.4, 0.0).astype(np.float32)
    # The normals know nothing of the step and tilt the right side only.
    normal = unit_normals(np.where(right, 0.5, 0.0), np.zeros_like(x))
    fused = fuse_normals(full(step, normal))
    np.testing.assert_allclose(fused.map[~right], 0, atol=1e-6)
    assert np.ptp(fused.map[right]) > 0.05
    assert fused.map[right].mean() == pytest.approx(0.4, abs=1e-4)


def test_pixels_off_the_head_stay_and_have_no_say() -> None:
    z, normal = wavy()
    outside = np.zeros((SIZE, SIZE), bool)
    outside[:, :20] = True
    results = []
    for junk in (0.0, 0.7):
        depth = np.where(outside, np.float32(junk), z + 0.01)
        depth[40:44, 40:44] += 0.005
        results.append(fuse_normals(Depth(depth, (~outside).astype(np.float32), None, normal)).map)
        np.testing.assert_array_equal(results[-1][outside], np.float32(junk))
    np.testing.assert_array_equal(results[0][~outside], results[1][~outside])


def test_unsure_depth_gives_way_to_its_surroundings() -> None:
    z, normal = wavy()
    dent = z.copy()
    dent[28:36, 28:36] += 0.01
    confidence = np.ones_like(z)
    confidence[28:36, 28:36] = 0.0
    sure, unsure = (fuse_normals(full(dent, normal, c)).map for c in (None, confidence))
    errors = [np.abs(found - z)[28:36, 28:36].mean() for found in (sure, unsure)]
    assert errors[1] < 0.5 * errors[0]


@settings(max_examples=15, deadline=None)
@given(st.floats(-0.5, 0.5), st.integers(0, 3))
def test_offset_and_quarter_turns_change_nothing_else(offset: float, turns: int) -> None:
    z, normal = wavy(32)
    noisy = z + np.random.default_rng(2).normal(0, 0.004, z.shape).astype(np.float32)
    plain = fuse_normals(full(noisy, normal)).map
    turned = np.rot90(normal, turns).copy()
    for _ in range(turns):
        # A quarter turn takes x to -y and y to x (y points down).
        turned = np.stack([turned[..., 1], -turned[..., 0], turned[..., 2]], axis=-1)
    again = fuse_normals(full(np.rot90(noisy, turns) + np.float32(offset), turned)).map
    np.testing.assert_allclose(again, np.rot90(plain, turns) + offset, atol=2e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_broken_pixel_stays_alone(broken: float) -> None:
    z, normal = wavy()
    z[10, 10] = broken
    normal[30, 30, 1] = broken
    confidence = np.ones_like(z)
    confidence[50, 50] = np.nan
    fused = fuse_normals(full(z, normal, confidence)).map
    good = np.ones(z.shape, bool)
    good[10, 10] = False
    np.testing.assert_array_equal(fused[10, 10], np.float32(broken))
    assert np.abs(fused - wavy()[0])[good].max() < 2e-3


def test_depth_without_normals_or_without_head_passes() -> None:
    z, normal = wavy()
    plain = full(z, None)
    assert fuse_normals(plain) is plain
    empty = Depth(z, np.zeros_like(z), None, normal)
    np.testing.assert_array_equal(fuse_normals(empty).map, z)
    np.testing.assert_array_equal(fuse_normals(full(z + 0.1, normal * 0)).map, z + np.float32(0.1))


def test_other_parts_and_inputs_stay() -> None:
    z, normal = wavy()
    confidence = np.full_like(z, 0.5)
    depth = full(z, normal, confidence)
    for array in (depth.map, depth.mask, normal, confidence):
        array.setflags(write=False)
    fused = fuse_normals(depth, 2 * LENGTH)
    assert fused.mask is depth.mask
    assert fused.normal is normal
    assert fused.confidence is confidence
    assert fused.map.dtype == np.float32
    np.testing.assert_array_equal(fuse_normals(full(z, normal), 0.0).map, z)


@pytest.mark.parametrize(
    ("depth", "length"),
    [
        (Depth(np.zeros((4, 5)), np.zeros((4, 5)), None, np.zeros((4, 5, 3))), LENGTH),
        (Depth(np.zeros((4, 4)), np.zeros((5, 5)), None, np.zeros((4, 4, 3))), LENGTH),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), None, np.zeros((4, 4))), LENGTH),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((3, 3)), np.zeros((4, 4, 3))), LENGTH),
        (Depth(np.zeros((1, 1)), np.zeros((1, 1)), None, np.zeros((1, 1, 3))), LENGTH),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), None, np.zeros((4, 4, 3))), float("nan")),
        (Depth(np.zeros((4, 4)), np.zeros((4, 4)), None, np.zeros((4, 4, 3))), -1.0),
    ],
)
def test_bad_input_is_refused(depth: Depth, length: float) -> None:
    with pytest.raises(InputError):
        fuse_normals(depth, length)
