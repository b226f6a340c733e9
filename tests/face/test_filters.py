import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.face.filters import MAX_GAP, OneEuroFilter
from stream.types import Array

quick = settings(deadline=None, derandomize=True, max_examples=60)


def reference(
    values: list[float], times: list[float], min_cutoff: float, beta: float, dcutoff: float
) -> list:
    """The published algorithm on one number, as its pseudocode reads (with true time steps)."""

    def alpha(step: float, cutoff: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step)

    out, speed = [values[0]], 0.0
    for value, last, now in zip(values[1:], times, times[1:], strict=False):
        step = now - last
        a = alpha(step, dcutoff)
        speed = a * (value - out[-1]) / step + (1 - a) * speed
        a = alpha(step, min_cutoff + beta * abs(speed))
        out.append(a * value + (1 - a) * out[-1])
    return out


@quick
@given(
    values=st.lists(st.floats(-100, 100), min_size=2, max_size=30),
    steps=st.lists(st.floats(0.004, 0.2), min_size=30, max_size=30),
)
def test_it_is_the_published_filter(values: list[float], steps: list[float]) -> None:
    times = np.cumsum(steps)[: len(values)].tolist()
    smooth = OneEuroFilter(min_cutoff=1.2, beta=0.3, derivative_cutoff=0.9)
    out = [smooth(np.array([[value]]), time)[0, 0] for value, time in zip(values, times, strict=True)]
    np.testing.assert_allclose(out, reference(values, times, 1.2, 0.3, 0.9), atol=1e-9)


def run(values: Array, rate: float = 30.0, scale: float = 1.0) -> Array:
    smooth = OneEuroFilter()
    return np.array([smooth(value, index / rate, scale) for index, value in enumerate(values)])


def test_a_still_noisy_face_becomes_calm() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, (200, 50, 2))
    out = run(noise, scale=100.0)[30:]
    assert out.std() < 0.5 * noise.std()
    assert np.diff(out, axis=0).std() < 0.3 * np.diff(noise, axis=0).std()
    assert np.abs(out.mean(axis=0)).max() < 0.2  # and stays where it is


@pytest.mark.parametrize(("speed", "limit"), [(1.0, 0.012), (4.0, 0.006)])
def test_a_moving_face_does_not_lag(speed: float, limit: float) -> None:
    """In seconds behind, at ``speed`` face sizes a second."""
    moving = (np.arange(90) / 30 * speed * 100.0)[:, None, None] * np.ones((1, 5, 1))
    behind = (moving - run(moving, scale=100.0))[60:] / (speed * 100.0)
    assert 0 < behind.max() < limit


def test_the_scale_makes_large_and_small_faces_alike() -> None:
    path = np.random.default_rng(0).normal(0, 1, (50, 4, 2)).cumsum(axis=0)
    np.testing.assert_allclose(run(path * 7, scale=7.0), run(path) * 7, rtol=1e-9, atol=1e-9)


@quick
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40))
def test_the_output_stays_between_the_values_seen(values: list[float]) -> None:
    out = run(np.array(values)[:, None, None])
    assert out.min() >= min(values) - 1e-9
    assert out.max() <= max(values) + 1e-9


@pytest.mark.parametrize("time", [1.0, 0.5, 1.0 + MAX_GAP * 1.01, 100.0])
def test_it_starts_afresh_after_a_gap_or_a_step_back_in_time(time: float) -> None:
    smooth = OneEuroFilter()
    smooth(np.zeros((3, 2)), 0.97)
    smooth(np.zeros((3, 2)), 1.0)
    np.testing.assert_array_equal(smooth(np.full((3, 2), 50.0), time), 50.0)


def test_another_shape_or_a_reset_starts_afresh() -> None:
    smooth = OneEuroFilter()
    smooth(np.zeros((3, 2)), 0.0)
    np.testing.assert_array_equal(smooth(np.ones((4, 2)), 0.03), 1.0)
    smooth.reset()
    np.testing.assert_array_equal(smooth(np.full((4, 2), 9.0), 0.06), 9.0)


def test_dtype_is_kept_and_inputs_are_not_changed() -> None:
    smooth = OneEuroFilter()
    first, second = np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)
    smooth(first, 0.0)
    out = smooth(second, 0.03)
    assert out.dtype == np.float32
    assert (first == 0).all()
    assert (second == 1).all()
    assert (out > 0).all()
    assert (out < 1).all()
