"""What a picture file says beside its picture: the orientation is read, what no picture needs is cut out.

Cameras, editors and messengers write whatever they like there. Libraries that read all of it stumble over a
text where a number belongs, so they are handed the file without it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from stream.types import Array

ORIENTATION = 0x0112
"""The tag of EXIF and TIFF that says how a picture is turned."""

# fmt: off
PIXEL_TAGS = frozenset((
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325,
    332, 338, 339, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532, 34675,
))
# fmt: on
"""The tags of a TIFF file that its pixels and their colours need (TIFF 6.0 and its supplements)."""

PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"gAMA", b"cHRM", b"sRGB"))
"""The same of a PNG file."""

MAX_PROFILE = 1 << 20
"""Bytes to which EXIF that was compressed as a text may grow."""

_PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
"""`struct`'s letters for the whole numbers among TIFF's types."""


def part(data: bytes) -> tuple[int, bytes]:
    """An image file's orientation, and the file without what its picture does not need.

    What is not as its format wants it is left as it is: whoever decodes it says what is wrong.

    :returns: 1 to 8 as in TIFF 6.0 (1 where the file says nothing, or nonsense), and the file.
    """
    if data.startswith(b"\xff\xd8"):
        return _part_jpeg(data)
    if data.startswith(_PNG):
        return _part_png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp_orientation(data), data
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return orientation(data), _part_tiff(data)
    return 1, data


def orientation(tiff: bytes) -> int:
    """The orientation in EXIF, which is a small TIFF file, after ``Exif`` or not; 1 where it says none."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    try:
        order, big, start, count = _directory(tiff)
        for entry in _entries(tiff, order, big, start, count):
            value = _orientation_of(entry, order, big)
            if value is not None:
                return value
    except (struct.error, KeyError):
        pass
    return 1


def upright(picture: Array, turned: int) -> Array:
    """The picture (H, W, C) as it is to be seen, C-contiguous, from how it is stored.

    :param turned: the orientation, 1 to 8.
    """
    if turned >= 5:
        picture = picture.transpose(1, 0, 2)
    if turned in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if turned in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _part_jpeg(data: bytes) -> tuple[int, bytes]:
    turned, kept, at = 1, [b"\xff\xd8"], 2
    while True:
        while data[at + 1 : at + 2] == b"\xff":  # fill bytes before a marker
            at += 1
        marker = data[at + 1 : at + 2]
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or size < 4 or at + size > len(data):
            return turned, data
        if marker == b"\xda":
            return turned, b"".join((*kept, memoryview(data)[at:]))
        segment = data[at : at + size]
        at += size
        if marker == b"\xe1" and segment[4:10] == b"Exif\0\0" and turned == 1:
            turned = orientation(segment[10:])
        # Of the application's segments a decoder needs the colour profile and Adobe's kind of colours.
        application = 0xE0 <= marker[0] <= 0xEF or marker == b"\xfe"
        if not application or marker in b"\xe0\xee" or segment[4:16] == b"ICC_PROFILE\0":
            kept.append(segment)


def _part_png(data: bytes) -> tuple[int, bytes]:
    turned, kept, at = 1, [_PNG], len(_PNG)
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name in PNG_CHUNKS:
            kept.append(data[at : at + 12 + size])
        elif turned == 1:
            turned = orientation(_png_exif(name, data[at + 8 : at + 8 + size]))
        at += 12 + size
    return turned, b"".join((*kept, data[at:]))


def _png_exif(name: bytes, body: bytes) -> bytes:
    """EXIF of a chunk, also as ImageMagick wrote it before PNG had one for it; empty where there is none."""
    if name == b"eXIf":
        return body
    keyword, _, text = body.partition(b"\0")
    if name not in (b"tEXt", b"zTXt") or keyword != b"Raw profile type exif":
        return b""
    try:
        if name == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], MAX_PROFILE)
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except (zlib.error, ValueError):
        return b""


def _webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            return orientation(data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return 1


def _part_tiff(data: bytes) -> bytes:
    """The file with nothing in its first directory but `PIXEL_TAGS`, and no further one."""
    try:
        order, big, start, count = _directory(data)
        entries = list(_entries(data, order, big, start, count))
        kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] in PIXEL_TAGS]
    except struct.error:
        return data
    counted = struct.pack(order + ("Q" if big else "H"), len(kept))
    new = b"".join((counted, *kept, bytes(8 if big else 4)))
    place = start - len(counted)
    return b"".join((memoryview(data)[:place], new, memoryview(data)[place + len(new) :]))


def _directory(tiff: bytes) -> tuple[str, bool, int, int]:
    """`struct`'s byte order, whether it is BigTIFF, where the first directory's entries begin, and how many.

    :raises struct.error: it is no TIFF, or cut off.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order:
        raise struct.error("no byte order")
    big = struct.unpack_from(order + "H", tiff, 2)[0] == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), tiff, 8 if big else 4)
    if start > len(tiff):
        raise struct.error("no directory")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
    return order, big, start + (8 if big else 2), count


def _entries(tiff: bytes, order: str, big: bool, start: int, count: int) -> Iterator[bytes]:
    """The directory's entries, as many as are there."""
    size = 20 if big else 12
    for at in range(start, min(start + count * size, len(tiff) - size + 1), size):
        yield tiff[at : at + size]


def _orientation_of(entry: bytes, order: str, big: bool) -> int | None:
    """The orientation that an entry holds; None for another entry, and for nonsense."""
    tag, kind, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), entry)
    if tag != ORIENTATION or count != 1 or kind not in _FORMATS:
        return None
    (value,) = struct.unpack_from(order + _FORMATS[kind], entry, 12 if big else 8)
    return int(value) if 1 <= value <= 8 else None
