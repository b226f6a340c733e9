"""The mesh protocol's mesh messages: a face's surface as a few kilobytes, and back (docs/protocol.md).

A height field needs only its depths: x, y, texture coordinates and triangles follow from the grid, the crop
and the camera. `stream.compute.mesh_quantize` turns depths into byte planes, Zstandard makes them
small.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
import zstandard

from stream.compute.depth_to_mesh import check_maps
from stream.compute.mesh_quantize import MAX_BITS, MIN_BITS, mesh_dequantize, mesh_quantize
from stream.errors import InputError, ProtocolError
from stream.mesh.build import connect_jump
from stream.protocol.precision import Precision
from stream.types import Array, Crop, Face, Intrinsics, Person, Surface

HEADER = struct.Struct("<BBHIIQI3f4fHH4f12f")
"""bits, flags, size; index, reference; captured; track; low, high, jump; fx, fy, cx, cy; width, height; crop
x, y, half, angle; the pose's upper three rows. Little-endian, without padding: 120 bytes."""

KEY = 1
"""The one flag: the levels are not predicted from another message's."""

RANGE = 1.25
"""Depths from -RANGE to RANGE crop units can be sent: `stream.compute.mend_surface.FARTHEST` cuts at 1.2."""

MAX_SIDE = 512
"""Largest side of a map on the wire."""

LEVEL = 1
"""Zstandard's level: the higher ones take two to four times as long for 1 to 4 % less."""

NO_LANDMARKS = np.zeros((0, 3), np.float32)
"""A surface from elsewhere comes without them."""

REFERENCES = 4
"""Key messages the decoder remembers: a delta that was overtaken by a newer key is late anyway."""


@dataclass(frozen=True, slots=True)
class SurfaceFrame:
    """One face's surface in one frame, as it goes over the wire.

    :ivar index: `Frame.index` of the picture, modulo 2^32.
    :ivar captured: when the picture was taken, microseconds since 1970 on the server's clock.
    :ivar track: `Face.track_id`.
    :ivar crop, intrinsics: of the picture; its size is in the intrinsics.
    :ivar pose: (4, 4) float32, head to camera, millimetres.
    :ivar depth: (S, S) float32 crop units, NaN where there is no surface.
    :ivar jump: crop units between neighbours from which on they are not connected.
    """

    index: int
    captured: int
    track: int
    crop: Crop
    intrinsics: Intrinsics
    pose: Array
    depth: Array
    jump: float

    @property
    def person(self) -> Person:
        """Whose surface it is: a face without landmarks, and the surface."""
        solid = np.isfinite(self.depth)
        surface = Surface(
            np.where(solid, self.depth, np.float32(0)), solid.astype(np.float32), jump=self.jump
        )
        return Person(Face(self.track, NO_LANDMARKS, self.pose, self.crop, self.intrinsics), surface=surface)


@dataclass(frozen=True, slots=True)
class MeshMessage:
    """An encoded `SurfaceFrame`.

    :ivar sequence: the number it was encoded for; deltas name their reference by it.
    :ivar reference: sequence of the key message that it is predicted from; 0 in a key message.
    """

    sequence: int
    body: bytes
    reference: int = 0

    @property
    def key(self) -> bool:
        """It can be decoded by itself."""
        return not self.reference


class MeshEncoder:
    """Encodes one face's surfaces, one after the other, once for all who receive them.

    Every frame is tried as a key frame and as the change since the last key frame, and the smaller one is
    sent: of a moving face that is mostly a key frame, of a still one seldom. A lost message thus costs
    itself, and where it was a key the deltas until the next one.

    :param bits: of a level, 10..14; at 12 cm to a crop unit 10 are steps of 0.29 mm, 12 of 0.07.
    :param key_seconds: the longest time, by capture, without a key frame.
    :param budget: bytes that a message may have on average; where they are not enough, bits are taken away.
    :raises InputError: a parameter is out of range.
    """

    def __init__(self, bits: int = 11, key_seconds: float = 2.0, budget: float | None = None) -> None:
        if not MIN_BITS <= bits <= MAX_BITS or not 0 <= key_seconds < math.inf:
            raise InputError(f"Meshes cannot be sent with {bits} bits and a key every {key_seconds} s.")
        self._precision, self._key_micros = Precision(bits, budget), round(key_seconds * 1e6)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL)
        self._levels: Array | None = None
        self._reference = (0, 0, 0)  # sequence, capture time, track

    def request_key(self) -> None:
        """Make the next frame a key frame."""
        self._levels = None

    def encode(self, sequence: int, face: Face, surface: Surface, index: int, captured: int) -> MeshMessage:
        """Encode a surface.

        :param sequence: the message's number, above those before; 1..2^32 - 1.
        :param surface: as `stream.mesh.build.surface_of` gives it.
        :param index, captured: see `SurfaceFrame`.
        :raises InputError: the maps or the face's values do not fit.
        """
        size = check_maps(surface.depth, surface.alpha)
        if size > MAX_SIDE:
            raise InputError(f"A map of {size}x{size} is too large to send; shrink it to {MAX_SIDE}.")
        maps = surface.depth[None], surface.alpha[None], -RANGE, RANGE, self._precision.bits
        key = mesh_quantize(*maps)
        packed, reference = self._compressor.compress(key.planes.data), 0
        if self._may_predict(size, face.track_id, captured):
            delta = mesh_quantize(*maps, self._levels)
            smaller = self._compressor.compress(delta.planes.data)
            if len(smaller) < len(packed):
                packed, reference = smaller, self._reference[0]
        body = self._header(face, size, reference, index, captured) + packed
        if not reference:
            self._levels, self._reference = key.levels, (sequence, captured, face.track_id)
        if self._precision.sent(len(body)):
            self.request_key()
        return MeshMessage(sequence, body, reference)

    def _may_predict(self, size: int, track: int, captured: int) -> bool:
        _, since, reference_track = self._reference
        fits = self._levels is not None and self._levels.shape[1] == size and track == reference_track
        return fits and 0 <= captured - since < self._key_micros

    def _header(self, face: Face, size: int, reference: int, index: int, captured: int) -> bytes:
        camera, crop = face.intrinsics, face.crop
        values = (
            *(-RANGE, RANGE, connect_jump(size)),
            *(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height),
            *(crop.x, crop.y, crop.half, crop.angle),
            *face.pose[:3].ravel().tolist(),
        )
        flags, track = 0 if reference else KEY, face.track_id & 0xFFFFFFFF
        try:
            packed = HEADER.pack(
                self._precision.bits, flags, size, index & 0xFFFFFFFF, reference, captured, track, *values
            )
            _fields(packed)
        except (struct.error, OverflowError, ProtocolError) as error:
            raise InputError(f"The face's values cannot be sent ({error}).") from error
        return packed


class MeshDecoder:
    """Decodes one lane's mesh messages, in whatever order they come; nothing in them is trusted.

    :ivar needs_key: a delta came whose reference is not known: ask the sender for a key frame.
    """

    def __init__(self) -> None:
        self.needs_key = False
        self._newest = 0
        self._references: dict[int, Array] = {}

    def decode(self, sequence: int, body: bytes) -> SurfaceFrame | None:
        """The surface, or ``None`` where the message is older than one decoded before or lacks its reference.

        :param sequence: the message's number.
        :raises ProtocolError: the message is damaged; what was decoded before stays usable.
        """
        bits, flags, size, index, reference, captured, track, floats = _fields(body)
        key, stale = bool(flags & KEY), sequence <= self._newest
        if stale and not key:
            return None
        previous = None if key else self._references.get(reference)
        if not key and (previous is None or previous.shape[1] != size):
            self.needs_key = True
            return None
        planes = np.frombuffer(_decompress(body[HEADER.size :], 2 * size * size), np.uint8)
        low, high = floats[:2]
        try:
            depth, levels = mesh_dequantize(planes.reshape(1, 2, -1), low, high, bits, previous)
        except InputError as error:
            raise ProtocolError(f"A mesh message is damaged: {error}") from error
        if key:
            self._remember(sequence, levels)
        if stale:
            return None
        self._newest = sequence
        pose = np.eye(4, dtype=np.float32)
        pose[:3] = np.reshape(floats[13:], (3, 4))
        fx, fy, cx, cy, width, height = floats[3:9]
        camera = Intrinsics(fx, fy, cx, cy, int(width), int(height))
        return SurfaceFrame(index, captured, track, Crop(*floats[9:13]), camera, pose, depth[0], floats[2])

    def _remember(self, sequence: int, levels: Array) -> None:
        self.needs_key = False
        self._references[sequence] = levels
        while len(self._references) > REFERENCES:
            del self._references[min(self._references)]


def _fields(body: bytes) -> tuple[int, int, int, int, int, int, int, tuple[float, ...]]:
    """The header's values, checked.

    :raises ProtocolError: one of them is not possible.
    """
    if len(body) < HEADER.size:
        raise ProtocolError(f"A mesh message of {len(body)} bytes is too short.")
    bits, flags, size, index, reference, captured, track, *rest = HEADER.unpack_from(body)
    low, high, jump, fx, fy, cx, cy, width, height, x, y, half, angle, *pose = rest
    sound = (
        MIN_BITS <= bits <= MAX_BITS
        and flags in (0, KEY)
        and bool(flags) == (reference == 0)
        and 2 <= size <= MAX_SIDE
        and all(math.isfinite(value) for value in rest)
        and -4 <= low < high <= 4
        and high - low >= 1e-3
        and 0 < jump <= 4
        and all(1 <= focal <= 1e6 for focal in (fx, fy))
        and all(1 <= side <= 32766 for side in (width, height))
        and all(abs(place) <= 1e5 for place in (cx, cy, x, y))
        and 0.5 <= half <= 32766
        and abs(angle) <= 10
        and all(abs(value) <= 1e6 for value in pose)
        and 1 <= pose[11] <= 1e5
    )
    if not sound:
        raise ProtocolError("A mesh message's header holds values that cannot be.")
    return bits, flags, size, index, reference, captured, track, tuple(rest)


def _decompress(data: bytes, size: int) -> bytes:
    """Zstandard data that must become exactly ``size`` bytes.

    :raises ProtocolError: it does not.
    """
    try:
        # The declared size is checked first: the library allocates what a frame declares.
        if zstandard.frame_content_size(data) != size:
            raise ProtocolError("A mesh message's depths do not have the declared size.")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ProtocolError(f"A mesh message's depths cannot be decompressed ({error}).") from error
