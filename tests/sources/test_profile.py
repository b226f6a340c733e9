"""Pictures with colour profiles, against the colours that the standards of their colour spaces give."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from shared_folder import SHARED

from stream.sources.images import read_image
from stream.types import Array

RGB = np.array([(200, 60, 40), (60, 190, 70), (50, 70, 200), (240, 205, 190), (128, 128, 128)], np.float64)

PROPHOTO = np.array([[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0.0, 0.0, 0.8249]])
"""Light of ProPhoto's primaries (ISO 22028-2) as CIE XYZ under D50, which is what profiles speak of."""

P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
"""The same of Display P3, adapted from D65."""

SRGB = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def profile(to_xyz: Array, gamma: float, name: str = "made for a test") -> bytes:
    """A matrix profile of version 2 (ICC.1:2001-04) with one gamma."""

    def xyz(values: Array) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *np.rint(np.asarray(values) * 65536).astype(int))

    text = name.encode() + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": description, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(np.array([0.9642, 1, 0.8249])),
        b"rXYZ": xyz(to_xyz[:, 0]), b"gXYZ": xyz(to_xyz[:, 1]), b"bXYZ": xyz(to_xyz[:, 2]),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head = (head + bytes(12) + b"acsp").ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def coded(rgb: Array, to_xyz: Array, decode: Callable[[Array], Array]) -> Array:
    """sRGB colours as codes of another space."""
    linear = np.where(rgb <= 10.31475, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return np.rint(255 * decode(linear @ (np.linalg.inv(to_xyz) @ SRGB).T)).astype(np.uint8)


SPACES = {
    "ProPhoto": (PROPHOTO, 1.8),
    "P3 with gamma 2.2": (P3, 2.2),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("space", SPACES)
def test_other_colour_spaces_become_srgb(tmp_path: Path, space: str, mode: str) -> None:
    to_xyz, gamma = SPACES[space]
    codes = coded(RGB, to_xyz, lambda light: np.clip(light, 0, 1) ** (1 / gamma))
    image = Image.fromarray(codes[None].repeat(4, axis=0))
    image = image.quantize(8) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png", icc_profile=profile(to_xyz, gamma))
    assert read_image(tmp_path / "a.png")[1].astype(float) == pytest.approx(RGB, abs=3)


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "WEBP"])
def test_every_format_that_has_profiles(tmp_path: Path, form: str) -> None:
    codes = coded(RGB, PROPHOTO, lambda light: np.clip(light, 0, 1) ** (1 / 1.8))
    image = Image.fromarray(codes[None].repeat(16, axis=0).repeat(16, axis=1))
    options = {"quality": 100} | ({"subsampling": 0} if form == "JPEG" else {})
    image.save(tmp_path / "a.img", form, icc_profile=profile(PROPHOTO, 1.8), **options)
    assert read_image(tmp_path / "a.img")[8, 8::16].astype(float) == pytest.approx(RGB, abs=6)


def test_the_photo_of_the_issue() -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    cases = SHARED / "data/cases"
    plain = read_image(cases / "reference_face.jpg").astype(int)
    with Image.open(cases / "icc_display_p3.jpg") as image:
        raw = np.asarray(image.convert("RGB")).astype(int)
        source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        by_library = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
    converted = read_image(cases / "icc_display_p3.jpg").astype(int)
    assert np.array_equal(converted, np.asarray(by_library))
    assert np.abs(converted - plain).mean() < 0.5 * np.abs(raw - plain).mean()


def test_srgb_itself_and_alpha_are_left_as_they_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=srgb)
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)
    clear = np.dstack([picture, np.zeros((8, 8), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "b.png", icc_profile=profile(PROPHOTO, 1.8))
    assert read_image(tmp_path / "b.png").max() == 0


@pytest.mark.parametrize("damage", ["cut", "noise", "of another kind"])
def test_a_profile_that_says_nothing_is_passed_over(tmp_path: Path, damage: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    whole = profile(PROPHOTO, 1.8)
    data = {"cut": whole[:150], "noise": b"\x99" * 300, "of another kind": whole.replace(b"RGB ", b"CMYK")}
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=data[damage])
    assert np.array_equal(read_image(tmp_path / "a.png"), picture)
