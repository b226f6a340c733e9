"""NV12 pictures as hardware decoders give them: in device memory, two planes, rows with padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.driver import Driver
from stream.errors import InputError

Decoding = tuple[float, float, float, float, float, float]
"""Y, Cb, Cr of 0..255 to R, G, B: black's Y, the gain of Y, then Cr in R, Cb in G, Cr in G, Cb in B."""


def decoding(kr: float, kb: float, full_range: bool = False) -> Decoding:
    """The coefficients of a standard (ITU-T H.273, section 8.3, equations 30 to 46).

    :param kr, kb: the shares of red and blue in luma.
    :param full_range: Y and chroma take all of 0..255, not 16..235 and 16..240.
    """
    black, luma, chroma = (0.0, 1.0, 1.0) if full_range else (16.0, 255 / 219, 255 / 224)
    red, blue = 2 * (1 - kr) * chroma, 2 * (1 - kb) * chroma
    kg = 1 - kr - kb
    return black, luma, red, -blue * kb / kg, -red * kr / kg, blue


BT601 = decoding(0.299, 0.114)
"""Limited range; what NV12 arrays without further notice are."""


@dataclass(frozen=True, slots=True)
class PitchedNv12:
    """An NV12 picture in device memory, complete: whoever made it has waited for its decoder.

    :ivar luma: (H, P) uint8, P bytes from row to row, of which the first ``width`` are the picture's.
    :ivar chroma: (H / 2, P) uint8, Cb and Cr by turns.
    :ivar driver: in whose memory it lies.
    """

    luma: DeviceArray
    chroma: DeviceArray
    width: int
    driver: Driver
    decoding: Decoding = BT601

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return self.luma.shape[0]

    @property
    def pitch(self) -> int:
        """Bytes from row to row."""
        return self.luma.shape[1]

    def check(self, name: str, longest: int) -> None:
        """Refuse what the kernels cannot read.

        :param longest: of a side, pixels; a row may take four times as many bytes.
        :raises InputError: the planes do not belong together, a side is odd, empty or too long.
        """
        luma, chroma = self.luma, self.chroma
        planes = luma.ndim == chroma.ndim == 2 and luma.dtype == chroma.dtype == np.uint8
        if not planes or luma.shape != (2 * chroma.shape[0], chroma.shape[1]) or self.width % 2:
            raise InputError(
                f"The {name} is not NV12: luma (H, P) and chroma (H / 2, P), uint8, with H and the width "
                f"even, not {luma.shape} and {chroma.shape} with {self.width}."
            )
        if not (1 <= self.height <= longest and 1 <= self.width <= min(longest, self.pitch)):
            raise InputError(
                f"The {name} has {self.width}x{self.height} pixels in rows of {self.pitch} bytes; its sides "
                f"must be 1 to {longest}, and a row must hold the width."
            )
        if self.pitch > 4 * longest:
            raise InputError(f"The {name} has rows of {self.pitch} bytes, over {4 * longest}.")


def layout_of(picture: DeviceArray | PitchedNv12) -> str:
    """The layout by which `stream.compute.crop_normalize.crop_normalize` takes a picture on the device."""
    return "nv12" if isinstance(picture, PitchedNv12) else "rgb"
