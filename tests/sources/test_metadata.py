"""Orientation of pictures whose metadata is as cameras, editors and bad luck leave it."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sources.source_helpers import corners, frames

from stream.sources import metadata
from stream.sources.images import ImagesSource, read_image
from stream.types import Array

ASCII, SHORT, LONG, RATIONAL, SIGNED, DOUBLE = 2, 3, 4, 5, 9, 12


def exif(entries: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """A TIFF directory of (tag, type, count, four bytes of value)."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    rows = [struct.pack(order + "HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries]
    return head + b"".join(rows) + bytes(4)


def turned(value: int = 6, kind: int = SHORT, order: str = "<") -> tuple[int, int, int, bytes]:
    letter = {SHORT: "H", LONG: "I", SIGNED: "i"}[kind]
    return (0x0112, kind, 1, struct.pack(order + letter, value))


WRONG = [
    (0x011A, ASCII, 4, b"abc\0"),  # resolution: a text
    (0x011B, SIGNED, 1, struct.pack("<i", -72)),  # a negative number
    (0x0128, RATIONAL, 1, struct.pack("<I", 0xFFFFFF00)),  # a place behind the end
    (0x8769, ASCII, 3, b"no\0"),  # where a directory of more should lie
    (0x8825, DOUBLE, 0xFFFFFFFF, b"\xff\xff\xff\xff"),
    (0x9999, 200, 7, b"????"),
]


def jpeg(picture: Array, block: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)
    data = file.getvalue()
    segment = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def png(picture: Array, name: bytes, body: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    data = file.getvalue()
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + chunk + data[33:]


def webp(picture: Array, block: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, exif=block)
    return file.getvalue()


def stored() -> Array:
    """`corners` as a camera stores it that is held at orientation 6."""
    return np.ascontiguousarray(np.rot90(corners(), 1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [SHORT, LONG, SIGNED])
def test_every_whole_number_says_an_orientation(kind: int, order: str) -> None:
    assert metadata.orientation(exif([turned(6, kind, order)], order)) == 6
    assert metadata.orientation(b"Exif\0\0" + exif([turned(8, kind, order)], order)) == 8


@pytest.mark.parametrize(
    "block",
    [
        b"", b"II*", b"junk" * 20, exif([]), exif([turned(0)]), exif([turned(9)]), exif([turned(-6, SIGNED)]),
        exif([(0x0112, ASCII, 2, b"6\0")]), exif([(0x0112, SHORT, 0, b"\6\0")]), exif([turned()])[:15],
        b"II*\0\xff\xff\xff\x7f",
    ],
)  # fmt: skip
def test_nonsense_is_upright(block: bytes) -> None:
    assert metadata.orientation(block) == 1


@pytest.mark.parametrize("wrong", [*([entry] for entry in WRONG), WRONG])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_what_else_stands_there_changes_nothing(
    tmp_path: Path, form: str, wrong: list[tuple[int, int, int, bytes]]
) -> None:
    block = exif([*wrong[:1], turned(), *wrong[1:]])
    make = {
        "JPEG": lambda: jpeg(stored(), block),
        "PNG": lambda: png(stored(), b"eXIf", block),
        "WEBP": lambda: webp(stored(), block),
    }[form]
    (tmp_path / "a.jpg").write_bytes(make())
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == corners().shape
    assert np.abs(image.astype(int) - corners()).mean() < (3 if form == "JPEG" else 0.01)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_exif_as_imagemagick_once_wrote_it_into_png(tmp_path: Path, kind: bytes) -> None:
    block = exif([turned()])
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode()
    body = b"Raw profile type exif\0" + (b"\0" + zlib.compress(text) if kind == b"zTXt" else text)
    (tmp_path / "a.png").write_bytes(png(stored(), kind, body))
    assert np.array_equal(read_image(tmp_path / "a.png"), corners())


def test_png_texts_and_broken_extras_do_no_harm(tmp_path: Path) -> None:
    huge = b"Comment\0\0" + zlib.compress(bytes(80_000_000))
    (tmp_path / "a.png").write_bytes(png(corners(), b"zTXt", huge))
    assert np.array_equal(read_image(tmp_path / "a.png"), corners())


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_with_wrong_tags(tmp_path: Path, order: str, big: bool) -> None:
    picture = stored()
    height, width = picture.shape[:2]
    letters = order + ("HHQQ" if big else "HHII")
    start = 16 if big else 8
    entries = [
        (256, LONG, 1, width), (257, LONG, 1, height), (258, SHORT, 1, 8), (259, SHORT, 1, 1),
        (262, SHORT, 1, 2), (0x0112, SHORT, 1, 6), (277, SHORT, 1, 3), (278, LONG, 1, height),
        (282, ASCII, 3, 7), (283, 77, 1, 0xFFFFFF), (34665, ASCII, 1000, 0xFFFFFF),
    ]  # fmt: skip
    size = struct.calcsize(letters)
    pixels = start + (8 if big else 2) + (len(entries) + 2) * size + 8
    entries += [(273, LONG, 1, pixels), (279, LONG, 1, picture.nbytes)]
    narrow = {SHORT: "HHQH6x" if big else "HHIH2x", LONG: "HHQI4x" if big else "HHII"}
    rows = [struct.pack(order + narrow.get(entry[1], letters[1:]), *entry) for entry in sorted(entries)]
    mark = b"II" if order == "<" else b"MM"
    head = (
        struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(rows))
        if big
        else struct.pack(order + "HIH", 42, 8, len(rows))
    )
    file = (mark + head + b"".join(rows)).ljust(pixels, b"\0") + picture.tobytes()
    (tmp_path / "a.tif").write_bytes(file)
    if big and order == ">":
        pytest.skip("Pillow does not read BigTIFF of this byte order")
    assert np.array_equal(read_image(tmp_path / "a.tif"), corners())


def test_a_grey_and_a_cmyk_jpeg_lose_nothing_but_metadata(tmp_path: Path) -> None:
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        picture = Image.fromarray(corners()).convert(mode)
        picture.save(file, "JPEG", quality=95)
        data = file.getvalue()
        part = metadata.part(data)[1]
        with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(part)) as bare:
            assert np.array_equal(np.asarray(whole), np.asarray(bare))


def test_one_photo_with_broken_exif_among_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, block in enumerate((exif([turned()]), exif([*WRONG, turned()]), b"\xff" * 40)):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(stored(), block))
    (tmp_path / "3.jpg").write_bytes(jpeg(stored(), b"")[:60])
    with caplog.at_level(logging.WARNING):
        shapes = [frame.image.shape for frame in frames(ImagesSource(tmp_path, fast=True))]
    assert shapes == [corners().shape, corners().shape, stored().shape]
    assert [record.getMessage() for record in caplog.records][-1] == (
        f"1 of 4 images of {tmp_path} were left out."
    )
    assert "3.jpg" in caplog.text


def test_whatever_a_decoder_raises_passes_over_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        Image.new("L", (4, 4), number).save(tmp_path / f"{number}.png")
    inner = metadata.upright

    def stumble(picture: Array, orientation: int) -> Array:
        if picture[0, 0, 0] == 1:
            raise AttributeError("'NoneType' object has no attribute 'get'")
        return inner(picture, orientation)

    monkeypatch.setattr(metadata, "upright", stumble)
    played = [int(frame.image[0, 0, 0]) for frame in frames(ImagesSource(tmp_path, fast=True))]
    assert played == [0, 2]
    assert "1.png" in caplog.text
