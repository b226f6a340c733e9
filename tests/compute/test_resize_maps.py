"""A network's maps at another side, the same at every place."""

from typing import Any

import cv2
import numpy as np
import pytest
from compute.places import every_place, place_for

from stream.compute.cuda.arrays import DeviceArray, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.resize_maps import DepthMaps, depth_maps, resize_maps
from stream.errors import InputError
from stream.types import Array


def network_maps(maps: int, size: int, seed: int, sure: bool = True) -> DepthMaps:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(0.4, 0.4, (maps, size, size)).astype(np.float32) for _ in range(3 if sure else 2)]
    return DepthMaps(*arrays)


def cubic(values: Array, places: Array) -> Array:
    """A row read at ``places`` by Keys' kernel of a = -1/2, in float64."""
    result = np.zeros(len(places))
    for n, place in enumerate(places):
        for k in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - k)
            weight = 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            result[n] += weight * values[min(max(k, 0), len(values) - 1)]
    return result


@every_place
@pytest.mark.parametrize("sure", [True, False])
@pytest.mark.parametrize(("size", "side"), [(192, 128), (48, 32), (31, 30), (7, 7), (2, 1), (1, 1)])
def test_smaller_maps_are_read_linearly(place: str, size: int, side: int, sure: bool) -> None:
    maps = network_maps(2, size, size, sure)
    with place_for(place) as compute:
        made = resize_maps(maps, side, compute=compute)
    assert (made.confidence is not None) == sure
    for number, (given, result) in enumerate(zip(maps.arrays(), made.arrays(), strict=True)):
        for n in range(2 if given is not None else 0):
            whole = given[n] if number == 0 else np.clip(given[n], 0, 1)
            expected = cv2.resize(whole, (side, side), interpolation=cv2.INTER_LINEAR)
            np.testing.assert_allclose(result[n], expected, atol=2e-6)


@every_place
@pytest.mark.parametrize(("size", "side"), [(96, 128), (96, 192), (3, 8), (1, 4)])
def test_larger_depths_are_read_by_cubic_convolution(place: str, size: int, side: int) -> None:
    maps = network_maps(2, size, side)
    with place_for(place) as compute:
        made = resize_maps(maps, side, compute=compute)
    places = (np.arange(side) + 0.5) * size / side - 0.5
    for n in range(2):
        rows = np.stack([cubic(row, places) for row in maps.depth[n].astype(np.float64)])
        expected = np.stack([cubic(column, places) for column in rows.T]).T
        np.testing.assert_allclose(made.depth[n], expected, atol=2e-6)
        wanted = cv2.resize(np.clip(maps.mask[n], 0, 1), (side, side), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(made.mask[n], wanted, atol=2e-6)


@every_place
def test_what_is_not_finite_anywhere_is_nothing_everywhere(place: str) -> None:
    maps, clean = network_maps(1, 12, 3), network_maps(1, 12, 3)
    assert maps.confidence is not None
    maps.depth[0, 2, 2], maps.mask[0, 5, 5], maps.confidence[0, 8, 8] = np.nan, np.inf, -np.inf
    for array in clean.arrays():
        assert array is not None
        for k in (2, 5, 8):
            array[0, k, k] = 0
    with place_for(place) as compute:
        made, expected = (resize_maps(one, 8, compute=compute) for one in (maps, clean))
    for a, b in zip(made.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", ["host", "cuda"])
def test_device_arrays_in_and_out(place: str) -> None:
    maps = network_maps(3, 48, 1)
    with place_for(place):
        driver = current_driver()
        there = DepthMaps(*(to_device(driver, array) for array in maps.arrays()))
        out = depth_maps(3, 32, True, device=True)
        made = resize_maps(there, 32, out)
        assert isinstance(made.depth, DeviceArray)
        assert made.depth.pointer == out.depth.pointer
        found = [to_host(driver, array) for array in made.first(2).arrays()]
    for a, b in zip(found, resize_maps(maps, 32, compute="numba").arrays(), strict=True):
        np.testing.assert_allclose(a, b[:2], atol=1e-6)


GOOD = network_maps(2, 8, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"maps": DepthMaps(GOOD.depth[0], GOOD.mask[0])},
        {"maps": DepthMaps(GOOD.depth[:, :4], GOOD.mask[:, :4])},
        {"maps": DepthMaps(GOOD.depth, GOOD.mask[:1])},
        {"maps": DepthMaps(GOOD.depth.astype(np.float64), GOOD.mask)},
        {"side": 0},
        {"out": depth_maps(2, 4, False)},
        {"out": depth_maps(2, 5, True)},
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"maps": GOOD, "side": 4} | changes
    with pytest.raises(InputError):
        resize_maps(**arguments, compute="numba")
