"""Any picture becomes (H, W, 3) uint8 RGB, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream.errors import InputError
from stream.sources.convert import MAX_PIXELS, check_size, to_rgb
from stream.types import Array

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))


@settings(deadline=None)
@given(hnp.arrays(np.uint8, SHAPES))
def test_8_bit(picture: Array) -> None:
    rgb = to_rgb(picture)
    assert (rgb.shape, rgb.dtype) == ((*picture.shape[:2], 3), np.uint8)
    assert rgb.flags.c_contiguous
    channels = picture.shape[2]
    colour = picture[..., :3].astype(float) if channels > 2 else picture[..., :1].astype(float)
    if channels in (2, 4):
        colour = colour * picture[..., -1:] / 255
    assert np.abs(rgb - np.broadcast_to(colour, rgb.shape)).max() <= 0.5


@settings(deadline=None)
@given(hnp.arrays(np.uint16, SHAPES))
def test_16_bit_is_scaled_not_clipped(picture: Array) -> None:
    expected = to_rgb(np.rint(picture / 257).astype(np.uint8))
    assert np.array_equal(to_rgb(picture), expected)


def test_floats_and_bools() -> None:
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    assert np.array_equal(to_rgb(ramp)[..., 0].ravel(), np.arange(256))
    assert to_rgb(ramp.astype(np.float32))[..., 2].max() == 255
    assert to_rgb(np.eye(2, dtype=bool))[..., 1].tolist() == [[255, 0], [0, 255]]


def test_what_is_rgb_already_is_not_copied() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    assert np.shares_memory(to_rgb(picture), picture)
    assert to_rgb(picture[:, ::-1]).flags.c_contiguous


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 2, 5), np.uint8), "shape"),
        (np.zeros((2, 2, 0), np.uint8), "shape"),
        (np.zeros(7, np.uint8), "shape"),
        (np.zeros((1, 2, 2, 3), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((4, 0), np.uint8), "empty"),
        (np.zeros((2, 2), np.int32), "int32"),
        (np.zeros((2, 2), np.complex64), "complex64"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.full((2, 2), np.inf, np.float32), "not finite"),
        (np.full((2, 2), 1.5), "outside 0..1"),
        (np.full((2, 2), -0.1), "outside 0..1"),
        (np.broadcast_to(np.uint8(0), (10_001, 10_000)), "megapixels"),
    ],
)
def test_bad_pictures_are_sentences(picture: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_rgb(picture)


def test_size_limit_is_inclusive() -> None:
    check_size(10_000, MAX_PIXELS // 10_000)
    with pytest.raises(InputError, match="My file has"):
        check_size(10_000, MAX_PIXELS // 10_000 + 1, "My file")
