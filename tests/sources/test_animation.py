"""Formats that phones and messengers write: animations, AVIF and HEIC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from shared_folder import SHARED
from sources.source_helpers import corners, frames, number_of, numbered

from stream.errors import SourceError
from stream.sources.animation import AnimationSource
from stream.sources.factory import open_source
from stream.sources.file import FileSource
from stream.sources.heif import is_heif
from stream.sources.images import ImagesSource, read_image

DURATIONS = [40, 120, 80, 0]


def write_animation(path: Path) -> Path:
    first, *rest = (Image.fromarray(picture) for picture in numbered(4))
    first.save(path, save_all=True, append_images=rest, duration=DURATIONS, lossless=True)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif"])
def test_live_plays_all_and_a_still_is_the_first(tmp_path: Path, suffix: str) -> None:
    path = write_animation(tmp_path / f"a{suffix}")
    source = open_source(str(path), fast=True)
    assert isinstance(source, FileSource if suffix == ".gif" else AnimationSource)
    played = list(frames(source))
    assert [number_of(frame.image) for frame in played] == [0, 1, 2, 3]
    if suffix != ".gif":
        assert np.diff([frame.captured for frame in played]) == pytest.approx([0.04, 0.12, 0.08], abs=1e-3)
    assert number_of(read_image(path)) == 0


def test_an_animation_loops_and_takes_a_rate(tmp_path: Path) -> None:
    source = open_source(str(write_animation(tmp_path / "a.webp")), fast=True, loop=True, rate=50)
    source.open()
    played = [source.read() for _ in range(10)]
    source.close()
    assert [number_of(frame.image) for frame in played if frame] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert np.diff([frame.captured for frame in played if frame]) == pytest.approx(0.02)


def test_a_still_webp_is_an_image(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "a.webp", lossless=True)
    assert isinstance(open_source(str(tmp_path / "a.webp")), ImagesSource)


def test_a_damaged_animation_is_a_sentence(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.webp")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match=r"a\.webp"):
        list(frames(AnimationSource(path, fast=True)))


def test_the_animation_of_the_issue() -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    path = SHARED / "data/cases/animated.webp"
    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
    played = list(frames(open_source(str(path), fast=True)))
    assert len(played) == count > 1
    assert np.array_equal(played[0].image, read_image(path))


def test_avif(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(corners(), 1))
    Image.fromarray(stored).save(tmp_path / "a.avif", quality=100, subsampling="4:4:4", exif=exif)
    image = read_image(tmp_path / "a.avif")
    assert np.abs(image.astype(int) - corners()).mean() < 3
    assert isinstance(open_source(str(tmp_path / "a.avif")), ImagesSource)


def heic_start() -> bytes:
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_heif_is_told_from_avif_and_video() -> None:
    assert is_heif(heic_start())
    assert is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
    assert not is_heif(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif")
    assert not is_heif(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    assert not is_heif(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    assert not is_heif(b"")


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.jpg"])
def test_heic_without_its_library_is_a_sentence_that_says_what_to_do(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(heic_start())
    with pytest.raises(SourceError, match=r"prosopon\[heif\].*convert it to JPEG"):
        list(frames(open_source(str(tmp_path / name), fast=True)))


def test_heic_is_read_whole(tmp_path: Path) -> None:
    library = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif = library.from_pillow(Image.fromarray(corners(640, 480)))
    heif.save(tmp_path / "a.heic", quality=100)
    image = read_image(tmp_path / "a.heic")
    assert image.shape == (480, 640, 3)
    assert np.abs(image.astype(int) - corners(640, 480)).mean() < 3
    (tmp_path / "a.mp4").write_bytes((tmp_path / "a.heic").read_bytes())
    with pytest.raises(SourceError):
        open_source(str(tmp_path / "a.mp4")).open()


def test_a_file_larger_than_an_image_may_be_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.webp"
    path.write_bytes(bytes(2000))
    monkeypatch.setattr("stream.sources.images.MAX_BYTES", 1000)
    with pytest.raises(SourceError, match="larger than an image may be"):
        AnimationSource(path).open()
