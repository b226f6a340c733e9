"""HEIC, as phones write photos: read where pillow-heif is installed, and told how to get there where not.

FFmpeg would give one of the tiles that such a picture is made of for the whole.
"""

from __future__ import annotations

from stream.errors import SourceError

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""How a file says in its first bytes that it holds HEIF pictures (ISO/IEC 23008-12, annex B)."""


def is_heif(start: bytes) -> bool:
    """Whether a file that begins with these bytes (64 are enough) is HEIF, AVIF not among it."""
    size = int.from_bytes(start[:4], "big")
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, min(size, len(start)), 4))}
    return start[4:8] == b"ftyp" and start[8:12] in BRANDS and not brands & {b"avif", b"avis"}


def heif_formats(name: str) -> tuple[str, ...]:
    """Pillow's name of HEIF, which it reads from now on.

    :param name: the file's, for the message.
    :raises SourceError: pillow-heif is not installed.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise SourceError(
            f"{name} is a HEIC picture; read it with pip install 'prosopon[heif]', or convert it to JPEG."
        ) from error
    register_heif_opener()
    return ("HEIF",)
