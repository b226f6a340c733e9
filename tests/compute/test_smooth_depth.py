"""Depth drawn to its past, against its definition, the same at every place."""

from typing import Any

import cv2
import numpy as np
import pytest
from compute.host_driver import BackwardsDriver, HostDriver, compiler
from compute.places import every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.compute.cuda.arrays import to_device, to_host
from stream.compute.cuda.current import current_driver, use_driver
from stream.compute.resize_maps import DepthMaps
from stream.compute.smooth_depth import (
    DEPTH_CHANGE,
    DRIFT,
    MASK_CHANGE,
    SmoothMaps,
    patch_side,
    smooth_buffers,
    smooth_depth,
    smoothing_rates,
)
from stream.errors import InputError
from stream.types import Array


def example(maps: int, size: int, seed: int, sure: bool = True) -> dict[str, Any]:
    """Arguments with changes of all sizes, and values that are not finite; the first map has no past."""
    rng = np.random.default_rng(seed)
    shape = (maps, size, size)

    def noise(scale: float, middle: float = 0.0) -> Array:
        return rng.normal(middle, scale, shape).astype(np.float32)

    depth, mask = noise(0.2), np.clip(noise(0.5, 0.6), 0, 1)
    before, mask_before = depth + noise(0.4 * DEPTH_CHANGE), np.clip(mask + noise(0.1), 0, 1)
    drift, confidences = noise(0.4 * DRIFT), [np.clip(noise(0.3, 0.7), 0, 1) for _ in range(2)]
    for array in (before, mask_before, drift, confidences[1]):
        array[0] = np.nan
    before[rng.random(shape) < 0.02] = np.nan
    return {
        "new": DepthMaps(depth, mask, confidences[0] if sure else None),
        "past": SmoothMaps(before, mask_before, drift, confidences[1] if sure else None),
        "still": rng.random(shape).astype(np.float32),
        "rates": np.stack([smoothing_rates(step) for step in rng.uniform(0.01, 0.4, maps)]),
        "tilt": rng.normal(0, 1e-3, (maps, 3)).astype(np.float32),
    }


def biweight(value: Array) -> Array:
    return np.where(np.abs(value) < 1, (1 - value**2) ** 2, 0.0)


def toward(new: Array, past: Array, keep: Array) -> Array:
    mixed = new + keep * (past - new)
    return np.where(np.isfinite(mixed), mixed, new)


def by_definition(
    new: DepthMaps, past: SmoothMaps, still: Array, rates: Array, tilt: Array
) -> dict[str, Array]:
    """`smooth_depth` in float64."""
    depth, mask, before, mask_before, drift = (
        array.astype(np.float64) for array in (new.depth, new.mask, past.depth, past.mask, past.drift)
    )
    size = depth.shape[1]
    side = patch_side(size)
    drift_rate, depth_keep, mask_keep = (rates[:, k, None, None].astype(np.float64) for k in range(3))
    change = depth - before
    known = np.isfinite(change) & np.isfinite(mask + mask_before)
    limited = np.clip(change, -DEPTH_CHANGE, DEPTH_CHANGE) * np.minimum(mask, mask_before)
    patch = np.stack([cv2.blur(one, (side, side)) for one in np.where(known, limited, 0)])
    low = drift + drift_rate * (patch - drift)
    calm = np.nan_to_num(np.where(known, still * biweight(low / DRIFT) * biweight(change / DEPTH_CHANGE), 0))
    found = {"depth": toward(depth, before, calm * depth_keep), "keep": calm * depth_keep}
    found["mask"] = toward(mask, mask_before, biweight((mask - mask_before) / MASK_CHANGE) * mask_keep)
    found["drift"] = np.where(calm > 0, low * calm, 0)
    if new.confidence is not None and past.confidence is not None:
        found["confidence"] = toward(new.confidence, past.confidence, found["keep"])
    i, j = np.mgrid[0:size, 0:size]
    planes = tilt.astype(np.float64)[:, :, None, None]
    found["level"] = found["depth"] - (planes[:, 0] * j + planes[:, 1] * i + planes[:, 2])
    return found


@every_place
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    maps=st.integers(1, 3),
    size=st.sampled_from([1, 2, 3, 17, 40, 64, 128]),
    seed=st.integers(0, 9999),
    sure=st.booleans(),
)
def test_it_is_its_definition(place: str, maps: int, size: int, seed: int, sure: bool) -> None:
    arguments = example(maps, size, seed, sure)
    with np.errstate(invalid="ignore"):
        expected = by_definition(**arguments)
    with place_for(place) as compute:
        made = smooth_depth(**arguments, compute=compute)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(made, name), values, atol=2e-6, err_msg=name)
    np.testing.assert_array_equal(made.depth[0], arguments["new"].depth[0])
    assert not made.drift[0].any()


def test_results_may_take_the_place_of_the_past_whatever_the_order_of_threads() -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    arguments = example(2, 48, 7)
    expected = smooth_depth(**arguments, compute="numba")
    for kind in (HostDriver, BackwardsDriver):
        with use_driver(kind()) as driver:
            state = smooth_buffers(2, 48, True, level=True, device=True)
            for name in ("depth", "mask", "drift", "confidence"):
                there, host = getattr(state, name), getattr(arguments["past"], name)
                driver.upload(there.pointer, np.ascontiguousarray(host), driver.default_stream)
            new = DepthMaps(*(to_device(driver, array) for array in arguments["new"].arrays()))
            still, rates, tilt = (to_device(driver, arguments[name]) for name in ("still", "rates", "tilt"))
            made = smooth_depth(new, state, still, rates, tilt, out=state)
            for name in ("depth", "mask", "drift", "confidence", "keep", "level"):
                found = to_host(current_driver(), getattr(made, name))
                np.testing.assert_allclose(found, getattr(expected, name), atol=1e-6, err_msg=name)


@every_place
def test_without_a_tilt_there_is_no_level_and_buffers_are_filled(place: str) -> None:
    arguments = example(2, 20, 1) | {"tilt": None}
    out = smooth_buffers(2, 20, True)
    with place_for(place) as compute:
        made = smooth_depth(**arguments, out=out, compute=compute)
    assert made.level is None
    assert np.shares_memory(made.depth, out.depth)


GOOD = example(2, 8, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"new": DepthMaps(GOOD["new"].depth, GOOD["new"].mask)},
        {"past": SmoothMaps(*GOOD["past"].arrays()[:3])},
        {"past": example(1, 8, 0)["past"]},
        {"still": GOOD["still"][:1]},
        {"rates": GOOD["rates"][:, :2]},
        {"tilt": GOOD["tilt"].astype(np.float64)},
        {"out": smooth_buffers(2, 8, True)},
        {"out": smooth_buffers(2, 9, True, level=True)},
        {"out": GOOD["past"]},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        smooth_depth(**(GOOD | changes), compute="numba")
