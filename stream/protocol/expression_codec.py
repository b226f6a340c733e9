"""The mesh protocol's expression messages: coefficients and head pose, to drive a rig (docs/protocol.md)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import cv2
import numpy as np

from stream.errors import InputError, ProtocolError
from stream.expression.arkit import ARKIT_NAMES
from stream.types import Array, Intrinsics

HEADER = struct.Struct("<IQI4fHH6f")
"""index, captured, track; fx, fy, cx, cy; width, height; rotation vector, translation. Then 52 uint16."""

STEPS = 65535

BODY_BYTES = HEADER.size + 2 * len(ARKIT_NAMES)


@dataclass(frozen=True, slots=True)
class ExpressionFrame:
    """One face's expression in one frame, as it goes over the wire.

    :ivar index, captured, track, intrinsics: as in `stream.protocol.mesh_codec.SurfaceFrame`.
    :ivar pose: (4, 4) float32, head to camera, millimetres.
    :ivar coefficients: (52,) float32 in 0..1, in the order of `ARKIT_NAMES`.
    """

    index: int
    captured: int
    track: int
    intrinsics: Intrinsics
    pose: Array
    coefficients: Array


def encode_expression(frame: ExpressionFrame) -> bytes:
    """The message's body, `BODY_BYTES` long; coefficients within 1/131070.

    :raises InputError: a value does not fit.
    """
    coefficients = np.asarray(frame.coefficients, np.float32)
    if coefficients.shape != (len(ARKIT_NAMES),) or not np.isfinite(coefficients).all():
        raise InputError("An expression must have ARKit's 52 coefficients, all finite.")
    camera = frame.intrinsics
    turn = cv2.Rodrigues(np.asarray(frame.pose[:3, :3], np.float64))[0].ravel()
    values = (
        *(frame.index & 0xFFFFFFFF, frame.captured, frame.track & 0xFFFFFFFF),
        *(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height),
        *(*turn.tolist(), *frame.pose[:3, 3].tolist()),
    )
    steps = np.rint(np.clip(coefficients, 0, 1) * STEPS).astype("<u2")
    try:
        body = HEADER.pack(*values) + steps.tobytes()
        decode_expression(body)
    except (struct.error, OverflowError, ProtocolError) as error:
        raise InputError(f"The expression's values cannot be sent ({error}).") from error
    return body


def decode_expression(body: bytes) -> ExpressionFrame:
    """The frame of a message's body; nothing in it is trusted.

    :raises ProtocolError: it is damaged.
    """
    if len(body) != BODY_BYTES:
        raise ProtocolError(f"An expression message of {len(body)} bytes must have {BODY_BYTES}.")
    index, captured, track, *rest = HEADER.unpack_from(body)
    fx, fy, cx, cy, width, height, *motion = rest
    sound = (
        all(math.isfinite(value) for value in rest)
        and all(1 <= focal <= 1e6 for focal in (fx, fy))
        and all(abs(place) <= 1e5 for place in (cx, cy))
        and all(1 <= side <= 32766 for side in (width, height))
        and all(abs(turn) <= 10 for turn in motion[:3])
        and all(abs(place) <= 1e6 for place in motion[3:])
    )
    if not sound:
        raise ProtocolError("An expression message holds values that cannot be.")
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = cv2.Rodrigues(np.array(motion[:3]))[0]
    pose[:3, 3] = motion[3:]
    steps = np.frombuffer(body, "<u2", offset=HEADER.size)
    coefficients = steps.astype(np.float32) / np.float32(STEPS)
    return ExpressionFrame(
        index, captured, track, Intrinsics(fx, fy, cx, cy, width, height), pose, coefficients
    )
