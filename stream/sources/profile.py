"""A picture's colour profile (ICC), and its colours as sRGB, in which screens and glTF have them."""

from __future__ import annotations

import io
from contextlib import suppress

from PIL import Image, ImageCms

PROFILED = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")
"""Pillow's kinds of pictures whose samples a profile can speak of; palettes become one of them."""


def to_srgb(image: Image.Image) -> Image.Image:
    """The picture in sRGB by the profile that it brings; itself where it brings none that can be used."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    # A profile that is damaged, or of another kind than the picture, says nothing.
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        if image.mode in PROFILED:
            return _convert(image, source)
    return image


def _convert(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    opaque = image if alpha is None else image.convert(image.mode[:-1])
    converted = ImageCms.profileToProfile(opaque, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted
