"""Video's colours as screens show them: matrix, range, primaries and transfer (ITU-T H.273), HDR included.

What is as screens are (BT.709's primaries, any of the usual transfers) is only decoded from luma and chroma,
by FFmpeg. High dynamic range (BT.2100's PQ and HLG) and other primaries are turned to light, white being 203
candela a square metre (BT.2408), and that to BT.709 as BT.1886 has it, so that a scene looks as its ordinary
recording does. Brighter light is bent down to white.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from stream.compute.backends import load_twin
from stream.sources.convert import to_rgb
from stream.types import Array

BT709, BT601, BT2020 = 1, 5, 9
"""H.273's numbers of these matrices; the first and last are those of their primaries, too."""

PQ, HLG, SRGB = 16, 18, 13
"""H.273's numbers of these transfers."""

HD = (1280, 576)
"""Pictures wider or higher than this are BT.709 where nobody says; smaller ones BT.601."""

PRIMARIES = {
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities of red, green and blue with D65 as white, by H.273's numbers: BT.709, BT.601 of 625 and of
525 lines, SMPTE 240M, BT.2020, Display P3."""

D65 = (0.3127, 0.3290)

WHITE, PEAK = 203.0, 1000.0
"""Candela a square metre: of white in HDR (BT.2408), and of the brightest that still has detail here."""

KNEE = 0.8
"""Share of white's light from which on HDR is bent."""

SCREEN_GAMMA, HLG_GAMMA = 2.4, 1.2
"""Of BT.1886; and of the whole way of HLG at 1000 candela a square metre."""

STEPS = 4096
"""Of the tables: 12 bits."""


class Recipe(NamedTuple):
    """What `colour_convert` takes besides the picture; see there."""

    decode: Array
    matrix: Array
    system: Array
    knee: float
    peak: float
    encode: Array


class ColourConverter:
    """Makes RGB of a video's frames; for one thread, and one video, whose frames are alike."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, frame: av.VideoFrame) -> Array:
        """(H, W, 3) uint8 RGB, alpha over black; deep samples are rounded, not clipped.

        A frame in a GPU's memory is downloaded first.

        :raises av.error.FFmpegError, InputError: its samples are of a kind that cannot be converted.
        """
        recipe = recipe_of(frame)
        kind = frame.sw_format or frame.format
        deep = max(component.bits for component in kind.components) > 8
        alpha = kind.name == "pal8" or any(part.is_alpha for part in kind.components)
        name = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
        matrix = matrix_of(frame)
        decoded = self._reformatter.reformat(
            frame, format=name, src_colorspace=matrix, dst_color_range=ColorRange.JPEG
        )
        samples = decoded.to_ndarray()
        if recipe is None:
            return to_rgb(samples, "The video frame")
        if not deep:
            samples = samples.astype(np.uint16) * np.uint16(257)
        colours = np.ascontiguousarray(samples[..., :3])
        out = np.empty(colours.shape, np.uint8)
        load_twin("colour_convert", "numba").colour_convert(colours, *recipe, out)
        if alpha:
            opacity = (samples[..., 3:].astype(np.uint16) // 257).astype(np.uint8)
            out = to_rgb(np.concatenate([out, opacity], axis=2), "The video frame")
        return out


def matrix_of(frame: av.VideoFrame) -> int:
    """H.273's number of the matrix by which luma and chroma are decoded, guessed where the file says none."""
    if frame.colorspace not in (2, 3):
        return int(frame.colorspace)
    if frame.color_trc in (PQ, HLG) or frame.color_primaries == BT2020:
        return BT2020
    return BT709 if frame.width >= HD[0] or frame.height > HD[1] else BT601


def recipe_of(frame: av.VideoFrame) -> Recipe | None:
    """How the frame's colours become those of screens; None where they are."""
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    if transfer in (PQ, HLG):
        return _recipe(primaries if primaries in PRIMARIES else BT2020, transfer)
    if primaries == BT709 or primaries not in PRIMARIES:
        return None
    return _recipe(primaries, transfer)


@lru_cache(maxsize=8)
def _recipe(primaries: int, transfer: int) -> Recipe:
    codes = np.linspace(0, 1, STEPS)
    light = np.linspace(0, 1, STEPS) ** 2
    system, knee, peak = np.empty(0), 1.0, 1.0
    encode = light ** (1 / SCREEN_GAMMA)
    if transfer == PQ:
        decode, knee, peak = pq_light(codes) / WHITE, KNEE, PEAK / WHITE
    elif transfer == HLG:
        decode, knee, peak = hlg_light(codes), KNEE, PEAK / WHITE
        # What of 0 is raised to a negative power does not matter: there is no light.
        system = light ** (HLG_GAMMA - 1) * PEAK / WHITE
    elif transfer == SRGB:
        decode, encode = srgb_light(codes), srgb_code(light)
    else:
        decode = codes**SCREEN_GAMMA
    return Recipe(
        decode.astype(np.float32),
        to_bt709(primaries).astype(np.float32),
        system.astype(np.float32),
        knee,
        peak,
        np.rint(255 * encode).astype(np.uint8),
    )


def pq_light(codes: Array) -> Array:
    """Candela a square metre of PQ's codes in 0..1 (BT.2100, table 4)."""
    root = codes ** (1 / 78.84375)
    return np.asarray(
        10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    )


def hlg_light(codes: Array) -> Array:
    """The scene's light in 0..1 of HLG's codes in 0..1 (BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


def srgb_light(codes: Array) -> Array:
    """Light in 0..1 of sRGB's codes in 0..1 (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def srgb_code(light: Array) -> Array:
    """The inverse of `srgb_light`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_bt709(primaries: int) -> Array:
    """(3, 3) float64 from light of these primaries to light of BT.709's; both with D65 as white."""
    return np.linalg.solve(_to_xyz(BT709), _to_xyz(primaries))


def _to_xyz(primaries: int) -> Array:
    """(3, 3) from light of these primaries to CIE XYZ."""

    def lifted(place: tuple[float, float]) -> list[float]:
        x, y = place
        return [x / y, 1.0, (1 - x - y) / y]

    columns = np.array([lifted(place) for place in PRIMARIES[primaries]]).T
    return columns * np.linalg.solve(columns, lifted(D65))
