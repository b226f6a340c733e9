"""Video's colours against their standards, worked out here another way."""

from __future__ import annotations

import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from shared_folder import SHARED
from sources.source_helpers import frames, write_video

from stream.sources.colour import pq_light, to_bt709
from stream.sources.file import FileSource
from stream.types import Array

SKIN = (240, 205, 190)
"""Of a patch in the clips of the shared folder."""

RGB = np.array([(200, 60, 40), (60, 190, 70), (50, 70, 200), (128, 128, 128)], np.float64)
"""Well inside BT.709."""


def first(path: Path) -> Array:
    return next(iter(frames(FileSource(path, fast=True)))).image


def case(name: str) -> Path:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    return SHARED / "data/cases" / name


def write_planes(
    path: Path,
    yuv: Array,
    *,
    size: int = 64,
    matrix: int = 2,
    trc: int = 2,
    primaries: int = 2,
    full: bool = False,
    depth: int = 10,
) -> Path:
    """Four patches beside each other, lossless; ``yuv`` (4, 3) in 0..1 and -0.5..0.5."""
    scale = 2 ** (depth - 8)
    codes = (
        yuv * ((255, 255, 255) if full else (219, 224, 224)) * np.array(scale)
        + np.array([0 if full else 16, 128, 128]) * scale
    )
    row = np.repeat(np.rint(codes), size // 4, axis=0)
    planes = np.repeat(row[None], size, axis=0).transpose(2, 0, 1).astype("<u2" if depth > 8 else np.uint8)
    name = f"yuv444p{depth}le" if depth > 8 else "yuv444p"
    frame = av.VideoFrame(size, size, name)
    for plane, values in zip(frame.planes, planes, strict=True):
        lines = np.zeros((size, plane.line_size), np.uint8)
        lines[:, : size * values.itemsize] = np.ascontiguousarray(values).view(np.uint8)
        plane.update(lines.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = size
        stream.pix_fmt = name
        codec = stream.codec_context
        codec.colorspace, codec.color_trc, codec.color_primaries = matrix, trc, primaries
        codec.color_range = 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def yuv_of(rgb: Array, kr: float, kb: float) -> Array:
    """(N, 3) luma in 0..1 and chroma in -0.5..0.5 of RGB in 0..1."""
    y = rgb @ [kr, 1 - kr - kb, kb]
    return np.stack([y, (rgb[:, 2] - y) / (2 * (1 - kb)), (rgb[:, 0] - y) / (2 * (1 - kr))], axis=1)


def patches(image: Array) -> Array:
    """(4, 3) the colours in the middles of the patches."""
    height, width = image.shape[:2]
    return image[height // 2, [width * (2 * k + 1) // 8 for k in range(4)]].astype(float)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize(
    ("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (6, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
def test_every_matrix_and_range(
    tmp_path: Path, matrix: int, kr: float, kb: float, depth: int, full: bool
) -> None:
    path = write_planes(
        tmp_path / "a.mkv", yuv_of(RGB / 255, kr, kb), matrix=matrix, primaries=1, full=full, depth=depth
    )
    assert patches(first(path)) == pytest.approx(RGB, abs=2.5)


@pytest.mark.parametrize(("size", "kr", "kb"), [(64, 0.299, 0.114), (640, 0.2126, 0.0722)])
def test_what_says_nothing_is_bt601_when_small_and_bt709_when_large(
    tmp_path: Path, size: int, kr: float, kb: float
) -> None:
    path = write_planes(tmp_path / "a.mkv", yuv_of(RGB / 255, kr, kb), size=size, depth=8)
    assert patches(first(path)) == pytest.approx(RGB, abs=2.5)


def bradford_free(
    rgb: Array, source: tuple[tuple[float, float], ...], goal: tuple[tuple[float, float], ...]
) -> Array:
    """Light of one set of primaries as that of another, both with D65."""

    def matrix(primaries: tuple[tuple[float, float], ...]) -> Array:
        xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
        return xyz * np.linalg.inv(xyz).dot([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])

    return rgb @ (np.linalg.inv(matrix(goal)) @ matrix(source)).T


BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
WIDE = {
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}  # fmt: skip


@pytest.mark.parametrize("primaries", WIDE)
def test_other_primaries_become_those_of_screens(tmp_path: Path, primaries: int) -> None:
    light = bradford_free((RGB / 255) ** 2.4, BT709, WIDE[primaries])
    path = write_planes(
        tmp_path / "a.mkv", yuv_of(light ** (1 / 2.4), 0.2126, 0.0722), matrix=1, trc=1, primaries=primaries
    )
    assert patches(first(path)) == pytest.approx(RGB, abs=2.5)


def test_the_published_matrix_of_bt2020() -> None:
    """ITU-R BT.2087, annex 1, its inverse to four places."""
    published = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert to_bt709(9) == pytest.approx(np.array(published), abs=1e-4)


def test_published_values_of_pq() -> None:
    """BT.2408, table 1: white of 203 cd/m2 lies at 58 %, 100 cd/m2 at 51 %, 1000 cd/m2 at 75 %."""
    assert pq_light(np.array([0.58, 0.508, 0.7518, 1.0])) == pytest.approx([203, 100, 1000, 10_000], rel=0.02)


@pytest.mark.parametrize("name", ["hdr_pq.mp4", "hdr_hlg.mp4"])
def test_hdr_looks_as_the_ordinary_recording_does(name: str) -> None:
    ordinary = cv2.resize(first(case("reference_sdr.mp4")), (640, 480), interpolation=cv2.INTER_LINEAR)
    image = first(case(name))
    skin = np.abs(ordinary.astype(int) - SKIN).max(axis=2) < 6
    assert skin.sum() > 500
    assert np.median(image[skin], axis=0) == pytest.approx(SKIN, abs=6)
    assert np.abs(image.astype(int) - ordinary).mean() < 6


def test_hdr_brighter_than_white_keeps_its_order_and_hue(tmp_path: Path) -> None:
    levels = np.array([203.0, 400.0, 1000.0, 4000.0])
    codes = np.interp(levels, pq_light(np.linspace(0, 1, 4096)), np.linspace(0, 1, 4096))
    grey = np.repeat(codes[:, None], 3, axis=1)
    path = write_planes(tmp_path / "a.mkv", yuv_of(grey, 0.2627, 0.0593), matrix=9, trc=16, primaries=9)
    shown = patches(first(path))
    assert np.ptp(shown, axis=1).max() <= 1
    assert 240 < shown[0, 0] < shown[1, 0] < shown[2, 0] == shown[3, 0] == 255


def test_hdr_is_fast_enough_for_live() -> None:
    source = FileSource(case("hdr_pq.mp4"), fast=True)
    source.open()
    source.read()
    begun = time.perf_counter()
    for _ in range(20):
        source.read()
    assert (time.perf_counter() - begun) / 20 < 1 / 30
    source.close()


def test_alpha_of_wide_colours_is_laid_over_black(tmp_path: Path) -> None:
    picture = np.full((24, 32, 4), 200, np.uint8)
    picture[:12, :, 3], picture[12:, :, 3] = 0, 255
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgra"
        stream.codec_context.color_primaries = 9
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgba")))
        container.mux(stream.encode())
    image = first(tmp_path / "a.mkv")
    assert image[:12].max() == 0
    assert image[12:].min() >= 199


def test_rgb_and_grey_are_left_as_they_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    assert np.array_equal(first(write_video(tmp_path / "a.mkv", [picture])), picture)
