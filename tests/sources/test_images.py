"""Folders of images, and single ones."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sources.source_helpers import corners, frames

from stream.errors import ConfigError, SourceError
from stream.sources import convert
from stream.sources.images import ImagesSource, natural_order, read_image


def save(path: Path, value: int, mode: str = "L") -> Path:
    Image.new(mode, (6, 4), value).save(path)
    return path


def test_a_folder_is_played_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        save(tmp_path / f"img{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    played = list(frames(ImagesSource(tmp_path, rate=10, fast=True)))
    assert [int(frame.image[0, 0, 0]) for frame in played] == [1, 2, 9, 10]
    assert [frame.index for frame in played] == [0, 1, 2, 3]
    assert np.diff([frame.captured for frame in played]) == pytest.approx(0.1)


def test_natural_order_mixes_words_and_numbers() -> None:
    names = ["b1", "a10", "a9b2", "a9b10", "10", "9", "A8"]
    ordered = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in ordered] == ["9", "10", "A8", "a9b2", "a9b10", "a10", "b1"]


def test_one_image_is_one_frame_or_repeated(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 7)
    assert len(list(frames(ImagesSource(path, fast=True)))) == 1
    source = ImagesSource(path, loop=True, fast=True)
    source.open()
    assert [frame.index for frame in (source.read() for _ in range(5)) if frame] == [0, 1, 2, 3, 4]
    source.close()


def test_a_folder_loops(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / f"{number}.png", number)
    source = ImagesSource(tmp_path, loop=True, fast=True)
    source.open()
    values = [int(frame.image[0, 0, 0]) for frame in (source.read() for _ in range(5)) if frame]
    assert values == [1, 2, 1, 2, 1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = corners(16, 8)
    # What a camera stores when it is held so (the inverse of TIFF 6.0's table of orientations).
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert np.array_equal(read_image(path), upright)


def test_16_bit_grey_and_colour_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 300).astype(np.uint16).reshape(15, 20)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "grey.tiff"), grey)
    colour = np.stack([grey, grey[::-1], grey // 2], axis=2)
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    for name, expected in (
        ("grey.png", grey[..., None]),
        ("grey.tiff", grey[..., None]),
        ("colour.png", colour),
    ):
        assert np.abs(read_image(tmp_path / name) - expected / 257).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_common_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(corners()).convert(mode)
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(path)
    expected = np.asarray(picture.convert("RGB"))
    assert np.abs(read_image(path).astype(int) - expected).max() <= 1


def test_transparent_palette_and_alpha_are_laid_over_black(tmp_path: Path) -> None:
    picture = np.full((4, 4, 4), 180, np.uint8)
    picture[:2, :, 3], picture[2:, :, 3] = 0, 255
    Image.fromarray(picture).save(tmp_path / "alpha.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([250, 250, 250, 180, 180, 180])
    palette.paste(0, (0, 0, 4, 2))
    palette.save(tmp_path / "palette.png", transparency=0)
    for name in ("alpha.png", "palette.png"):
        image = read_image(tmp_path / name)
        assert image[:2].max() == 0
        assert (image[2:] == 180).all()


def test_a_jpeg_called_png_is_read(tmp_path: Path) -> None:
    Image.fromarray(corners()).save(tmp_path / "a.png", format="JPEG")
    assert read_image(tmp_path / "a.png").shape == (48, 64, 3)


def test_unreadable_files_are_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(np.random.default_rng(0).bytes(900))
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "4.png")
    whole = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "5.png", 5)
    with caplog.at_level(logging.WARNING):
        played = list(frames(ImagesSource(tmp_path, fast=True)))
    assert [int(frame.image[0, 0, 0]) for frame in played] == [1, 5]
    *each, count = (record.getMessage() for record in caplog.records)
    assert [message[:5] for message in each] == ["2.png", "3.png", "4.png"]
    assert all(message.endswith("It is left out.") for message in each)
    assert count.startswith("3 of 5 images")


def test_nothing_readable_is_a_sentence_and_does_not_loop_forever(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(SourceError, match="Not one image"):
        list(frames(ImagesSource(tmp_path, loop=True, fast=True)))


def test_an_empty_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image"):
        ImagesSource(tmp_path).open()


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Cannot read the folder"):
        ImagesSource(tmp_path / "missing").open()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_image_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", 3)
    for side in (12_000, 60_000):
        (tmp_path / "bomb.ppm").write_bytes(f"P6 {side} {side} 255\n".encode())
        with pytest.raises(SourceError, match="megapixels"):
            read_image(tmp_path / "bomb.ppm")
    monkeypatch.setattr(convert, "MAX_PIXELS", 23)
    with pytest.raises(SourceError, match=r"a\.png has 6x4"):
        read_image(path)


def test_values_that_mean_nothing_are_a_sentence(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tiff")
    with pytest.raises(SourceError, match="not finite"):
        read_image(tmp_path / "nan.tiff")
    Image.fromarray(np.full((4, 4), 1 << 20, np.int32)).save(tmp_path / "deep.tiff")
    with pytest.raises(SourceError, match="16 bits"):
        read_image(tmp_path / "deep.tiff")


def test_an_impossible_rate_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rate"):
        ImagesSource(tmp_path, rate=0)
