"""Expression messages: by the document, within half a step, and nothing damaged gets through."""

import struct
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import InputError, ProtocolError
from stream.protocol.expression_codec import (
    BODY_BYTES,
    HEADER,
    ExpressionFrame,
    decode_expression,
    encode_expression,
)
from stream.protocol.fragments import Kind, Message
from stream.types import Array, Intrinsics

CAMERA = Intrinsics(620.0, 621.0, 319.5, 239.5, 640, 480)
CAPTURED = 1_800_000_000_123_456
PACKET_BYTES = 20 + 8 + 13 + 8 + 16 + 12 + 16
"""Around a datagram: IPv4, UDP, DTLS, SCTP."""


def frame_of(coefficients: Array, turn: tuple[float, float, float] = (0.1, -0.4, 0.2)) -> ExpressionFrame:
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn))[0]
    pose[:3, 3] = 12.5, -30.0, 640.0
    return ExpressionFrame(5, CAPTURED, 3, CAMERA, pose, coefficients)


FRAME = frame_of(np.linspace(0, 1, 52, dtype=np.float32))


def test_a_message_is_what_the_document_describes() -> None:
    body = encode_expression(FRAME)
    assert len(body) == BODY_BYTES == 60 + 2 * 52
    assert struct.unpack_from("<IQI", body) == (5, CAPTURED, 3)
    assert struct.unpack_from("<4f", body, 16) == (620.0, 621.0, 319.5, 239.5)
    assert struct.unpack_from("<2H", body, 32) == (640, 480)
    assert struct.unpack_from("<3f", body, 36) == pytest.approx((0.1, -0.4, 0.2), abs=1e-6)
    assert struct.unpack_from("<3f", body, 48) == (12.5, -30.0, 640.0)
    steps = struct.unpack_from("<52H", body, 60)
    np.testing.assert_allclose(np.array(steps) / 65535, FRAME.coefficients, atol=0.5 / 65535 * 1.01)
    assert (steps[0], steps[-1]) == (0, 65535)


def test_thirty_messages_a_second_are_far_below_a_tenth_of_a_megabit() -> None:
    datagrams = Message(Kind.EXPRESSION, 0, 1, encode_expression(FRAME)).datagrams
    assert len(datagrams) == 1
    assert 30 * 8 * (len(datagrams[0]) + PACKET_BYTES) < 0.1e6


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), turn=st.tuples(*[st.floats(-1.8, 1.8)] * 3))
def test_frames_come_back(seed: int, turn: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    frame = frame_of(rng.uniform(-0.2, 1.2, 52).astype(np.float32), turn)
    back = decode_expression(encode_expression(frame))
    assert (back.index, back.captured, back.track, back.intrinsics) == (5, CAPTURED, 3, CAMERA)
    np.testing.assert_allclose(back.pose, frame.pose, atol=2e-6)
    assert back.coefficients.dtype == np.float32
    error = np.abs(back.coefficients - np.clip(frame.coefficients, 0, 1))
    assert error.max() <= 0.51 / 65535


@pytest.mark.parametrize(
    "changes",
    [
        {"coefficients": np.zeros(51, np.float32)},
        {"coefficients": np.full(52, np.nan, np.float32)},
        {"pose": np.full((4, 4), np.nan, np.float32)},
        {"captured": -1},
        {"captured": 2**64},
        {"intrinsics": replace(CAMERA, width=70_000)},
        {"intrinsics": replace(CAMERA, fx=0.0)},
        {"intrinsics": replace(CAMERA, cx=1e39)},
    ],
)
def test_what_cannot_be_sent_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        encode_expression(replace(FRAME, **changes))


@pytest.mark.parametrize(
    ("place", "value"),
    [(place, value) for place in range(13) if place not in (0, 1, 2, 7, 8) for value in (np.nan, np.inf)]
    + [(3, 0.0), (4, -5.0), (5, 1e6), (7, 0), (8, 65535), (9, 50.0), (12, 1e7)],
)
def test_a_message_with_impossible_values_is_refused(place: int, value: float) -> None:
    body = encode_expression(FRAME)
    values = list(HEADER.unpack_from(body))
    values[place] = value
    with pytest.raises(ProtocolError):
        decode_expression(HEADER.pack(*values) + body[HEADER.size :])


@pytest.mark.parametrize("size", [0, 1, HEADER.size, BODY_BYTES - 1, BODY_BYTES + 1, 5000])
def test_a_message_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError):
        decode_expression(bytes(size))
