"""Video files that NVIDIA's decoder (NVDEC) decodes, so that the crops are cut where the pictures are.

Face tracking and textures work on the host, so each picture that is shown is copied there once, as NV12, and
converted to RGB as any other is; what is spared is the decoding on the CPU and the upload for the crops.

What stays on the device is FFmpeg's copy of NVDEC's surface (it makes one unless told not to), so no frame
holds one of the few surfaces. Its memory goes back to FFmpeg's pool with the `Frame` that refers to it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.sidedata.sidedata import Type as SideData
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.current import current_driver
from stream.compute.nv12 import PitchedNv12, decoding
from stream.errors import BackendError, SourceError
from stream.sources.colour import matrix_of, recipe_of
from stream.sources.video import VideoFile

log = logging.getLogger(__name__)

CONTEXT = {"primary_ctx": "0", "current_ctx": "1"}
"""FFmpeg works in our driver's CUDA context. Of its own accord it takes the primary one, and refuses it where
somebody opened that first with other flags than its own, as we and PyTorch do."""

SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Of red and blue in luma, by ITU-T H.273's numbers for BT.709, BT.601 twice, and BT.2020."""


def open_video(path: Path) -> VideoFile:
    """The file, decoded on the GPU where this machine can and something is gained, else on the CPU.

    :raises SourceError: as `VideoFile`.
    """
    try:
        return NvdecFile(path)
    except (BackendError, SourceError) as error:
        log.info("%s is decoded on the CPU. %s", path.name, error)
    return VideoFile(path)


class NvdecFile(VideoFile):
    """An open video file whose pictures are decoded into the memory of the current driver's GPU.

    :raises BackendError: there is no such GPU, PyAV was built without it, it does not decode this kind of
        video, the pictures must be turned, stretched, woven or converted on the host, or it is a pipe.
    :raises SourceError: as `VideoFile`; or CUDA refused.
    """

    def __init__(self, path: Path) -> None:
        if path.is_fifo():
            raise BackendError("A pipe is read once, and what the GPU cannot decode is opened again.")
        if "cuda" not in hwdevices_available():
            raise BackendError("PyAV was built without CUDA; install its wheel.")
        self._driver = current_driver()
        # Where the GPU does not know a profile the frames come from the CPU, which shows in the first one.
        accel = HWAccel("cuda", is_hw_owned=True, allow_software_fallback=True, options=dict(CONTEXT))
        with self._driver.current():
            super().__init__(path, accel)
        try:
            self._try()
        except BaseException:
            self.close()
            raise

    def device(self, frame: av.VideoFrame) -> PitchedNv12 | None:
        """The picture on the GPU, complete; None where it is not what `picture` shows, in NV12."""
        shares, kind = SHARES.get(matrix_of(frame)), frame.sw_format
        if kind is None or kind.name != "nv12" or shares is None or frame.width % 2 or frame.height % 2:
            return None
        if recipe_of(frame) is not None or frame.interlaced_frame:
            return None
        if self._aspect != 1 or frame.side_data.get(SideData.DISPLAYMATRIX) is not None:
            return None
        luma, chroma = frame.planes
        if luma.line_size != chroma.line_size:
            return None
        # NVDEC and FFmpeg's copy are queued on CUDA's legacy default stream, for which no other stream waits.
        self._driver.synchronize(self._driver.default_stream)
        colours = decoding(*shares, full_range=frame.color_range == ColorRange.JPEG)
        planes = _rows(luma, frame), _rows(chroma, frame)
        return PitchedNv12(*planes, frame.width, self._driver, colours)

    def _try(self) -> None:
        # Threads decode no faster there, and each would take one of the few surfaces.
        self._stream.codec_context.thread_count = 1
        first = next(self._frames(), None)
        if first is None or self.device(first) is None:
            raise BackendError("Its pictures cannot be used as the GPU decodes them, if it does.")
        self.rewind()


def _rows(plane: VideoPlane, frame: av.VideoFrame) -> DeviceArray:
    """A plane with its padding; the frame keeps the memory."""
    return DeviceArray(plane.buffer_ptr, (plane.height, plane.line_size), np.dtype(np.uint8), frame)
