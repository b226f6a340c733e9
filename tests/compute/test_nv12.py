"""Pitched NV12 pictures: cut as contiguous ones whatever is in their padding, in every standard's colours."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
from compute.places import PLACES, place_for

from stream.compute.crop_normalize import crop_normalize, crop_table
from stream.compute.cuda.arrays import DeviceArray, to_device, to_host
from stream.compute.cuda.current import current_driver
from stream.compute.nv12 import BT601, Decoding, PitchedNv12, decoding
from stream.errors import InputError
from stream.geometry import image_from_crop
from stream.types import Array, Crop

on_device = pytest.mark.parametrize("place", [place for place in PLACES if place != "numba"])

SHARES = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
CROPS = [Crop(30.0, 22.0, 9.0, 0.4), Crop(40.0, 20.0, 55.0, 1.0), Crop(-4.0, 47.0, 12.0, 0.0)]
"""Enlarged, shrunk, and over two edges."""


def noise(width: int, height: int, seed: int = 0) -> Array:
    """(H * 3 / 2, W)."""
    return np.random.default_rng(seed).integers(0, 256, (height * 3 // 2, width)).astype(np.uint8)


def pitched(frame: Array, pitch: int, colours: Decoding = BT601, rubbish: int = 255) -> PitchedNv12:
    """On the device, in two pieces of memory, with rubbish where the rows are padded."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    rows = np.full((len(frame), pitch), rubbish, np.uint8)
    rows[:, :width] = frame
    driver = current_driver()
    chroma = to_device(driver, rows[height:])
    return PitchedNv12(to_device(driver, rows[:height]), chroma, width, driver, colours)


def plan(size: int, *crops: Crop) -> Array:
    return np.stack([image_from_crop(crop, size) for crop in crops])


def down(array: DeviceArray) -> Array:
    return to_host(current_driver(), array)


@on_device
@pytest.mark.parametrize("pitch", [64, 65, 96, 512])
@pytest.mark.parametrize("rubbish", [0, 255])
def test_padding_is_never_looked_at(place: str, pitch: int, rubbish: int) -> None:
    frame = noise(64, 48)
    with place_for(place):
        contiguous = to_device(current_driver(), frame)
        picture = pitched(frame, pitch, rubbish=rubbish)
        for size in (16, 40):
            arguments = [0] * len(CROPS), plan(size, *CROPS), size, "nv12"
            made, expected = (down(crop_normalize([one], *arguments)) for one in (picture, contiguous))
            np.testing.assert_array_equal(made, expected)
    assert np.std(expected) > 0.1


@on_device
def test_pitches_and_sizes_mix_in_one_launch(place: str) -> None:
    frames = [noise(64, 48, 1), noise(34, 90, 2), noise(2, 2, 3)]
    of = np.array([2, 0, 1])
    with place_for(place):
        mixed = [pitched(frames[0], 128), to_device(current_driver(), frames[1]), pitched(frames[2], 7)]
        made = down(crop_normalize(mixed, of, plan(24, *CROPS), 24, "nv12", table=crop_table(3)))
    expected = crop_normalize(frames, of, plan(24, *CROPS), 24, "nv12", compute="numba")
    np.testing.assert_allclose(made, expected, atol=2e-3)


@on_device
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("standard", SHARES)
def test_colours_are_those_of_the_host(place: str, standard: int, full: bool) -> None:
    """FFmpeg's own conversion of the same bytes, for pictures of one colour."""
    for y, u, v in ((120, 90, 170), (60, 140, 110), (200, 128, 128), (250, 128, 128), (5, 128, 128)):
        flat = np.full((36, 32), y, np.uint8)
        flat[24:, 0::2], flat[24:, 1::2] = u, v
        frame = av.VideoFrame.from_ndarray(flat, format="nv12")
        frame.colorspace, frame.color_range = standard, 2 if full else 1
        expected = frame.to_ndarray(format="rgb24")[12, 16].astype(float)
        with place_for(place):
            picture = pitched(flat, 40, decoding(*SHARES[standard], full_range=full))
            made = down(crop_normalize([picture], [0], plan(4, Crop(16.0, 12.0, 3.0, 0.0)), 4, "nv12"))
        grey = (made[0, :, 2, 2].astype(float) + 1) * 127.5
        # FFmpeg's tables round, mostly downwards; another standard would be off by 6 levels and more.
        np.testing.assert_allclose(grey, expected, atol=3)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shares", sorted(set(SHARES.values())))
def test_decoding_inverts_the_standards_coding(shares: tuple[float, float], full: bool) -> None:
    kr, kb = shares
    rgb = np.random.default_rng(0).uniform(0, 1, (50, 3))
    luma = rgb @ [kr, 1 - kr - kb, kb]
    cb, cr = (rgb[:, 2] - luma) / (2 * (1 - kb)), (rgb[:, 0] - luma) / (2 * (1 - kr))
    scale, offset, chroma = (255, 0, 255) if full else (219, 16, 224)
    black, gain, red, green_b, green_r, blue = decoding(kr, kb, full)
    y = gain * (scale * luma + offset - black)
    u, v = chroma * cb, chroma * cr
    back = np.stack([y + red * v, y + green_b * u + green_r * v, y + blue * u], axis=1)
    np.testing.assert_allclose(back, 255 * rgb, atol=1e-9)


@on_device
def test_bad_pictures_are_told(place: str) -> None:
    with place_for(place):
        good = pitched(noise(64, 48), 80)
        wide = [DeviceArray(1, (rows, 65538), np.dtype(np.uint8), None) for rows in (2, 1)]
        bad = {
            "is not NV12": [
                replace(good, width=63),
                replace(good, chroma=good.chroma[:23]),
                replace(good, luma=good.luma[:47]),
                replace(good, luma=good.luma.reshape(48 * 80)),
                replace(good, luma=DeviceArray(1, (48, 80), np.dtype(np.int8), None)),
            ],
            "sides": [
                replace(good, width=82),
                replace(good, width=0),
                replace(good, luma=good.luma[:0], chroma=good.chroma[:0]),
            ],
            "rows of 65538": [PitchedNv12(wide[0], wide[1], 2, good.driver)],
        }
        for message, pictures in bad.items():
            for picture in pictures:
                with pytest.raises(InputError, match=message):
                    crop_normalize([picture], [0], plan(8, CROPS[0]), 8, "nv12")
        with pytest.raises(InputError, match="must be an array"):
            crop_normalize([good], [0], plan(8, CROPS[0]), 8, "rgb")
        with pytest.raises(InputError, match="one place"):
            crop_normalize([good, noise(8, 8)], [0], plan(8, CROPS[0]), 8, "nv12")
        other = pitched(noise(64, 48), 80, decoding(0.2126, 0.0722))
        with pytest.raises(InputError, match="in different ways"):
            crop_normalize([good, other], [0], plan(8, CROPS[0]), 8, "nv12")
