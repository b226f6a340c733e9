"""Maps read at another size."""

from __future__ import annotations

import numpy as np
import pytest

from stream.depth.maps import resized, resized_surface


def bowl(side: int) -> np.ndarray:
    axis = ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
    return axis[None] ** 2 + axis[:, None] ** 2


@pytest.mark.parametrize(("size", "side"), [(96, 128), (96, 192), (192, 128)])
def test_a_smooth_surface_is_read_between_its_pixels(size, side):
    error = np.abs(resized_surface(bowl(size), side) - bowl(side))[4:-4, 4:-4]
    assert error.max() < 2e-4


def test_an_enlarged_surface_has_no_facets():
    slopes = np.diff(resized_surface(bowl(96), 192)[96])[8:-8]
    # Of linear interpolation every second change of slope would be 0.
    changes = np.diff(slopes)
    assert changes.min() > 0.5 * changes.mean()


def test_a_mask_stays_one():
    mask = (np.indices((96, 96))[1] > 40).astype(np.float32)
    larger = resized(mask, 128)
    assert larger.min() == 0
    assert larger.max() == 1


def test_the_same_size_is_the_same_map():
    values = bowl(16)
    assert resized(values, 16) is values
    assert resized_surface(values, 16) is values
