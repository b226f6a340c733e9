"""Crop pixels to network input."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.depth.preprocess import to_network
from stream.errors import InputError


def test_black_and_white_are_the_ends_of_the_range() -> None:
    crop = np.zeros((4, 4, 3), dtype=np.uint8)
    crop[1, 2] = (255, 0, 255)
    result = to_network(crop)
    assert result.shape == (1, 3, 4, 4)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[0, :, 1, 2], [1.0, -1.0, 1.0])
    assert result.min() == -1.0


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(6), st.just(6), st.just(3))))
def test_it_is_the_published_standardisation(crops: np.ndarray) -> None:
    expected = ((crops.astype(np.float64) / 255.0) - 0.5) / 0.5
    np.testing.assert_allclose(to_network(crops), np.moveaxis(expected, 3, 1), atol=2e-7)


@given(arrays.arrays(np.uint8, (2, 5, 5, 3)))
def test_a_batch_is_its_single_crops(crops: np.ndarray) -> None:
    np.testing.assert_array_equal(
        to_network(crops), np.concatenate([to_network(crop) for crop in crops], axis=0)
    )


def test_the_buffer_is_used() -> None:
    random = np.random.default_rng(0)
    crop = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = np.full((1, 3, 8, 8), np.nan, dtype=np.float32)
    assert to_network(crop[:, ::-1], out=buffer) is buffer
    np.testing.assert_array_equal(buffer, to_network(crop)[..., ::-1])


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 1, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
    ],
    ids=lambda crops: f"{crops.dtype}{crops.shape}",
)
def test_other_pictures_are_refused(crops: np.ndarray) -> None:
    with pytest.raises(InputError, match="uint8 RGB"):
        to_network(crops)


@pytest.mark.parametrize(
    "buffer", [np.zeros((1, 3, 8, 4), np.float32), np.zeros((1, 3, 8, 8), np.float64)], ids=["shape", "dtype"]
)
def test_a_buffer_that_does_not_fit_is_refused(buffer: np.ndarray) -> None:
    with pytest.raises(InputError, match="buffer"):
        to_network(np.zeros((8, 8, 3), np.uint8), out=buffer)
