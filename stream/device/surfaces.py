"""From a network's maps to calm, clean surfaces on the device, by the rules of the host's chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.compute.cuda.arrays import DeviceArray
from stream.compute.cuda.driver import Driver, Stream
from stream.compute.cuda.mirrored import Mirrored
from stream.compute.mend_surface import SurfaceBatch, mend_surface, surface_buffers
from stream.compute.resize_maps import DepthMaps, depth_maps, resize_maps
from stream.compute.smooth_depth import smooth_buffers, smooth_depth
from stream.mesh.silhouette import depth_jump
from stream.types import Array

NAN_BYTE = 0xFF
"""A float32 of such bytes is NaN: a past that does not count."""


@dataclass(frozen=True, slots=True)
class FramePasts:
    """How much of their past N faces may keep in a frame (`smooth_depth`), and how their maps are tilted.

    :ivar tracks: who each face is: another one at the same place has no past.
    :ivar still: (N, S, S) float32 of the pictures, S the side of the surfaces.
    :ivar rates: (N, 3) float32; zeros drop the past.
    :ivar tilt: (N, 3) planes of `stream.depth.sight.sight_plane`.
    """

    tracks: Sequence[int]
    still: Array
    rates: Array
    tilt: Array


class SurfaceMaker:
    """Buffers for up to ``faces`` faces, and what is queued to fill them.

    :param size: S, side of the surfaces.
    :param confidence: whether the network says how sure it is.
    :ivar surfaces: where the surfaces are made, over and over.
    """

    def __init__(self, driver: Driver, faces: int, size: int, confidence: bool) -> None:
        self._driver = driver
        self._new = depth_maps(faces, size, confidence, device=True)
        self._smooth = smooth_buffers(faces, size, confidence, level=True, device=True)
        self.surfaces = surface_buffers(faces, size, device=True)
        self._still = Mirrored(driver, (faces, size, size), "float32")
        self._rates, self._tilt = (Mirrored(driver, (faces, 3), "float32") for _ in range(2))
        self._tracks: list[int | None] = [None] * faces
        self._size = size

    def prepare(self, pasts: FramePasts, stream: Stream) -> None:
        """Write what `queue` reads, and forget those who are at their place no longer."""
        count = len(pasts.tracks)
        self._still.host[:count], self._rates.host[:count] = pasts.still, pasts.rates
        self._tilt.host[:count] = pasts.tilt
        smooth = self._smooth
        for place, track in enumerate(pasts.tracks):
            if self._tracks[place] == track:
                continue
            for array in (smooth.depth, smooth.mask, smooth.drift, smooth.confidence):
                if array is not None:
                    self._driver.fill(array[place].pointer, NAN_BYTE, array[place].nbytes, stream)
        self._tracks[:] = [*pasts.tracks, *[None] * (len(self._tracks) - count)]

    def queue(self, outputs: Mapping[str, DeviceArray], count: int, stream: Stream) -> SurfaceBatch:
        """The surfaces of the first ``count`` faces, of what the network gave: (N, 1, M, M) each."""
        given = (outputs["depth"], outputs["mask"], outputs.get("confidence"))
        raw = DepthMaps(*(None if one is None else one.reshape(count, *one.shape[2:]) for one in given))
        new = resize_maps(raw, self._size, self._new.first(count), stream)
        for mirrored in (self._still, self._rates, self._tilt):
            mirrored.upload(stream, count)
        still, rates, tilt = (one.device[:count] for one in (self._still, self._rates, self._tilt))
        state = self._smooth.first(count)
        smooth_depth(new, state, still, rates, tilt, state, stream)
        out = self.surfaces.first(count)
        return mend_surface(state.level, state.mask, depth_jump(self._size), state.confidence, out, stream)

    def results(self) -> dict[str, Any]:
        """What goes down to the host, by name."""
        smooth, surfaces = self._smooth, self.surfaces
        found = {"depth": smooth.level, "mask": smooth.mask, "confidence": smooth.confidence}
        found |= {"surface": surfaces.depth, "alpha": surfaces.alpha}
        return {name: array for name, array in found.items() if array is not None}
