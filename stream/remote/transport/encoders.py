"""Video encoders for live pictures: each picture in gives its packet out, nothing is held back."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType

from stream.protocol.clock import MEDIA_RATE
from stream.types import Array

TIME_BASE = Fraction(1, MEDIA_RATE)

FRAMES_PER_SECOND = 30
"""What the rate control is told; the pictures' own times decide."""

KEY_DISTANCE = 3000
"""Pictures after which a key frame comes by itself; viewers ask for theirs."""

CODECS = ("VP8", "H264")
"""What every browser decodes, in order of preference: one codec for all viewers is one encoder."""


def fit(image: Array, side: int) -> Array:
    """The picture as planar YUV 4:2:0 (BT.601, limited range), scaled down to ``side`` where it is larger.

    :param image: (H, W, 3) uint8 RGB.
    :returns: (H' * 3 / 2, W') uint8 with even H', W' of at least 16.
    """
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    wanted = [max(16, round(length * scale) // 2 * 2) for length in (width, height)]
    if wanted != [width, height]:
        image = cv2.resize(image, (wanted[0], wanted[1]), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420))


class VideoEncoder:
    """One codec's encoder; a picture of another size starts it anew.

    :param codec: one of `CODECS`.
    :param kbps: bit rate.
    """

    def __init__(self, codec: str, kbps: int) -> None:
        self._codec = codec
        self._bits = kbps * 1000
        self._context: Any = None
        self._size = (0, 0)

    def encode(self, yuv: Array, ticks: int, key: bool) -> tuple[bytes, bool]:
        """Encode one picture.

        :param yuv: as `fit` gives it.
        :param ticks: when it was taken, in ticks of `MEDIA_RATE`; grows from picture to picture.
        :param key: make it a key frame.
        :returns: the encoded picture, and whether it is a key frame. It is empty if the codec left it out.
        """
        height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
        if self._context is None or (width, height) != self._size:
            self._size = (width, height)
            self._begun = ticks
            self._context = self._open(width, height)
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.pts, frame.time_base = ticks - self._begun, TIME_BASE
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._context.encode(frame)
        return b"".join(bytes(packet) for packet in packets), any(packet.is_keyframe for packet in packets)

    def _open(self, width: int, height: int) -> Any:
        context = av.CodecContext.create("libvpx" if self._codec == "VP8" else "libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.bit_rate = self._bits
        context.time_base, context.framerate = TIME_BASE, Fraction(FRAMES_PER_SECOND)
        context.gop_size = KEY_DISTANCE
        context.thread_count = 1
        rate = {"maxrate": str(self._bits), "bufsize": str(self._bits)}
        if self._codec == "VP8":
            context.qmin, context.qmax = 2, 56
            context.options = rate | {
                "minrate": str(self._bits),
                "deadline": "realtime",
                "cpu-used": "-6",
                "lag-in-frames": "0",
                "static-thresh": "1",
                "undershoot-pct": "100",
                "overshoot-pct": "15",
            }
        else:
            context.profile = "Baseline"
            context.options = rate | {"preset": "ultrafast", "tune": "zerolatency"}
        return context
