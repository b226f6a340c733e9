"""mesh_quantize and mesh_dequantize: the format by its definition, round trips, sizes, and hostile bytes."""

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.mesh_quantize import mesh_dequantize, mesh_quantize
from stream.errors import InputError
from stream.types import Array

LOW, HIGH = -1.0, 1.25


def maps_of(maps: int, size: int, seed: int) -> tuple[Array, Array]:
    """Depth beyond LOW..HIGH on both sides, partly not finite, and a mask with holes and NaN."""
    rng = np.random.default_rng(seed)
    depth = rng.normal(0, 0.8, (maps, size, size)).astype(np.float32)
    bad = rng.choice(np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32), depth.shape)
    depth = np.where(rng.random(depth.shape) < 0.1, bad, depth)
    mask = rng.random(depth.shape).astype(np.float32) + np.float32(0.3)
    mask[rng.random(depth.shape) < 0.05] = np.nan
    return depth, mask


def face_like(size: int, shift: float = 0.0) -> tuple[Array, Array]:
    """A smooth head with a nose and a little sensor-like noise, and its outline."""
    y, x = np.mgrid[0:size, 0:size] * (2 / size) - 1
    depth = 0.6 * (x**2 + 0.6 * y**2) - 0.25 * np.exp(-((x - shift) ** 2 + (y - 0.1) ** 2) / 0.02)
    depth += 0.03 * np.sin(9 * x + 4 * y)
    mask = (x**2 / 0.5 + y**2 / 0.8 < 1).astype(np.float32)
    return depth[None].astype(np.float32), mask[None]


def levels_by_definition(depth: Array, mask: Array, bits: int) -> Array:
    """In float64, as the docstring says."""
    with np.errstate(invalid="ignore"):
        steps = (depth.astype(np.float64) - LOW) / (HIGH - LOW) * (2**bits - 2)
        there = np.isfinite(depth) & (mask >= 0.5)
    return np.where(there, 1 + np.clip(np.nan_to_num(np.rint(steps)), 0, 2**bits - 2), 0).astype(np.int64)


def planes_by_definition(levels: Array, bits: int, previous: Array | None) -> Array:
    change = levels - (0 if previous is None else previous.astype(np.int64))
    residual = np.diff(np.diff(change, axis=1, prepend=0), axis=2, prepend=0) % 2**bits
    residual = np.where(residual >= 2 ** (bits - 1), residual - 2**bits, residual)
    code = np.where(residual < 0, -2 * residual - 1, 2 * residual).reshape(len(levels), -1)
    return np.stack([code % 256, code // 256], axis=1).astype(np.uint8)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    maps=st.integers(1, 3),
    size=st.integers(1, 40),
    bits=st.integers(10, 14),
    seed=st.integers(0, 999),
    delta=st.booleans(),
)
def test_planes_are_those_of_the_definition_and_come_back(
    maps: int, size: int, bits: int, seed: int, delta: bool
) -> None:
    depth, mask = maps_of(maps, size, seed)
    rng = np.random.default_rng(seed + 1)
    previous = rng.integers(0, 2**bits, depth.shape).astype(np.uint16) if delta else None
    sent = mesh_quantize(depth, mask, LOW, HIGH, bits, previous)
    levels = sent.levels.astype(np.int64)
    expected = levels_by_definition(depth, mask, bits)
    # Where a depth lies between two steps to within float32's rounding, either is right.
    assert np.abs(levels - expected).max() <= 1
    assert (levels != expected).mean() < 0.01
    np.testing.assert_array_equal(levels == 0, expected == 0)
    np.testing.assert_array_equal(sent.planes, planes_by_definition(levels, bits, previous))
    back, received = mesh_dequantize(sent.planes, LOW, HIGH, bits, previous)
    np.testing.assert_array_equal(received, sent.levels)
    np.testing.assert_array_equal(np.isnan(back), levels == 0)
    step, seen = (HIGH - LOW) / (2**bits - 2), levels > 0
    error = np.abs(back[seen] - np.clip(depth[seen].astype(np.float64), LOW, HIGH))
    assert error.size == 0 or error.max() <= 0.5 * step * 1.01 + 1e-7
    assert not seen.any() or (back[seen].min() >= LOW and back[seen].max() <= HIGH)


def test_a_stream_of_key_and_delta_frames_comes_back() -> None:
    mine: Array | None = None
    theirs: Array | None = None
    for number in range(6):
        depth, mask = face_like(48, 0.02 * number)
        key = number % 4 == 0
        sent = mesh_quantize(depth, mask, LOW, HIGH, 12, None if key else mine)
        back, theirs = mesh_dequantize(sent.planes, LOW, HIGH, 12, None if key else theirs)
        mine = sent.levels
        np.testing.assert_array_equal(theirs, mine)
        np.testing.assert_array_equal(np.isfinite(back), mask > 0)
        half = 0.505 * (HIGH - LOW) / (2**12 - 2)
        np.testing.assert_allclose(back[mask > 0], depth[mask > 0], atol=half, rtol=0)


def test_a_smooth_face_becomes_small() -> None:
    depth, mask = face_like(128)
    key = mesh_quantize(depth, mask, LOW, HIGH, 12)
    moved, _ = face_like(128, 0.01)
    delta = mesh_quantize(moved, mask, LOW, HIGH, 12, key.levels)
    plain, small = mask.size * 2, len(zlib.compress(key.planes.tobytes(), 1))
    assert small < plain / 6
    assert len(zlib.compress(delta.planes.tobytes(), 1)) < small
    # Planes and prediction are what makes it small.
    assert small < 0.6 * len(zlib.compress(key.levels.tobytes(), 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.binary(min_size=2, max_size=2 * 49), bits=st.integers(10, 14), delta=st.booleans())
def test_any_bytes_become_something_in_range(data: bytes, bits: int, delta: bool) -> None:
    size = int((len(data) // 2) ** 0.5)
    planes = np.frombuffer(data, np.uint8)[: 2 * size * size].reshape(1, 2, -1)
    previous = np.resize(np.frombuffer(data[: len(data) // 2 * 2], np.uint16), (1, size, size))
    depth, levels = mesh_dequantize(planes, LOW, HIGH, bits, previous if delta else None)
    assert levels.max() < 2**bits
    np.testing.assert_array_equal(np.isnan(depth), levels == 0)
    seen = depth[levels > 0]
    assert ((seen >= LOW) & (seen <= HIGH)).all()


GOOD = np.zeros((2, 4, 4), np.float32)


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": GOOD[0]},
        {"depth": GOOD.astype(np.float64)},
        {"depth": GOOD[:, :3]},
        {"depth": GOOD[:0], "mask": GOOD[:0]},
        {"depth": np.broadcast_to(np.float32(0), (1, 4096, 4096))},
        {"mask": GOOD[:1]},
        {"mask": None},
        {"low": np.nan},
        {"low": 1.0, "high": 1.0},
        {"high": np.inf},
        {"high": 1e39},
        {"low": 0.0, "high": 1e-42},
        {"bits": 9},
        {"bits": 15},
        {"bits": 12.5},
        {"previous": np.zeros((2, 4, 4), np.int16)},
        {"previous": np.zeros((1, 4, 4), np.uint16)},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"depth": GOOD, "mask": GOOD, "low": LOW, "high": HIGH} | changes
    with pytest.raises(InputError):
        mesh_quantize(**arguments)


PLANES = np.zeros((1, 2, 16), np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {"planes": PLANES.tobytes()},
        {"planes": PLANES.astype(np.int8)},
        {"planes": PLANES[:, :1]},
        {"planes": PLANES[:, :, :15]},
        {"planes": PLANES[:, :, :0]},
        {"planes": PLANES[:0]},
        {"planes": np.broadcast_to(np.uint8(0), (1, 2, 4096 * 4096))},
        {"low": 2.0},
        {"bits": 30},
        {"previous": np.zeros((1, 5, 5), np.uint16)},
        {"previous": np.zeros((1, 4, 4), np.int32)},
    ],
)
def test_damaged_planes_are_refused(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"planes": PLANES, "low": LOW, "high": HIGH} | changes
    with pytest.raises(InputError):
        mesh_dequantize(**arguments)
