"""Hostile mesh and expression messages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import zstandard
from fuzz.hostile import FLOATS, INTEGERS, Edit, altered, corpus, edits, fuzz, mutations, survives
from hypothesis import strategies as st
from mesh.wire_samples import moving_shots

from stream.protocol.expression_codec import ExpressionFrame, decode_expression, encode_expression
from stream.protocol.mesh_codec import HEADER, MeshDecoder, MeshEncoder, SurfaceFrame
from stream.types import Array, Intrinsics

SIZE = 12
INTEGER_FIELDS = {0: 8, 1: 8, 2: 16, 3: 32, 4: 32, 5: 64, 6: 32, 14: 16, 15: 16}
"""The header's whole numbers: place and bits; the other places are floats."""


@cache
def messages() -> list[bytes]:
    """A key frame (sequence 1), its deltas, and a later key frame."""
    encoder, shots = MeshEncoder(), moving_shots(5, SIZE, 0.0)
    bodies = [encoder.encode(number, *shot).body for number, shot in enumerate(shots[:4], start=1)]
    encoder.request_key()
    return [*bodies, encoder.encode(5, *shots[4]).body]


def forge(base: bytes, changes: list[tuple[int, int, float]], content: int, planes: list[Edit]) -> bytes:
    """A message whose header has chosen fields changed and whose depths were altered before compression."""
    values = list(HEADER.unpack_from(base))
    for place, whole, real in changes:
        bits = INTEGER_FIELDS.get(place)
        values[place] = real if bits is None else whole % 2**bits
    data = altered(zstandard.ZstdDecompressor().decompress(base[HEADER.size :]), planes)
    if content == 1:
        return HEADER.pack(*values) + zstandard.ZstdCompressor(write_content_size=False).compress(data)
    if content == 2:
        data = bytes(2 * values[2] ** 2 if values[2] <= 1024 else 2**20)
    elif content == 3:
        data = bytes(2**23)
    packed = zstandard.ZstdCompressor(level=1).compress(data)
    return HEADER.pack(*values) + (altered(packed, planes) if content == 4 else packed)


def forged() -> st.SearchStrategy[bytes]:
    change = st.tuples(
        st.integers(0, 31), st.sampled_from(INTEGERS) | st.integers(0, 2**64), st.sampled_from(FLOATS)
    )
    return st.builds(
        forge,
        st.sampled_from(messages()),
        st.lists(change, max_size=3),
        st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 4]),
        edits(),
    )


def handle_mesh(data: bytes) -> None:
    """Between sound messages, which must decode whatever happens to the hostile one."""
    decoder, (key, *_, later) = MeshDecoder(), messages()
    decoder.decode(1, key)
    try:
        frame = decoder.decode(3, data)
        if frame is not None:
            check_frame(frame)
    finally:
        following = decoder.decode(4, messages()[3])
        assert following is not None
        np.testing.assert_array_equal(following.depth, depths_of_sound())
        assert decoder.decode(5, later) is not None
        assert len(decoder._references) <= 3


@cache
def depths_of_sound() -> Array:
    decoder = MeshDecoder()
    decoder.decode(1, messages()[0])
    frame = decoder.decode(4, messages()[3])
    assert frame is not None
    return frame.depth


def check_frame(frame: SurfaceFrame) -> None:
    """Nothing that a renderer could stumble over."""
    depth = frame.depth[np.isfinite(frame.depth)]
    assert np.isnan(frame.depth[~np.isfinite(frame.depth)]).all()
    assert depth.size == 0 or (depth.min() >= -4 and depth.max() <= 4)
    assert np.isfinite(frame.pose).all()
    assert frame.pose[2, 3] >= 1
    assert min(frame.intrinsics.fx, frame.intrinsics.fy) >= 1
    assert frame.depth.shape[0] <= 512
    assert 0 < frame.jump <= 4


@cache
def expression() -> bytes:
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = cv2.Rodrigues(np.array([0.1, 0.2, 0.3]))[0]
    camera = Intrinsics(600.0, 600.0, 320.0, 240.0, 640, 480)
    frame = ExpressionFrame(1, 10**15, 1, camera, pose, np.linspace(0, 1, 52, dtype=np.float32))
    return encode_expression(frame)


def handle_expression(data: bytes) -> None:
    frame = decode_expression(data)
    assert np.isfinite(frame.pose).all()
    turn = frame.pose[:3, :3].astype(np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    assert frame.coefficients.shape == (52,)
    assert frame.coefficients.min() >= 0
    assert frame.coefficients.max() <= 1


def test_hostile_mesh_messages() -> None:
    fuzz(handle_mesh, mutations(messages()) | forged())


def test_hostile_expression_messages() -> None:
    fuzz(handle_expression, mutations([expression()]))


@pytest.mark.parametrize("path", corpus("mesh"), ids=lambda path: path.name)
def test_kept_mesh_messages(path: Path) -> None:
    survives(handle_mesh, path.read_bytes())


@pytest.mark.parametrize("path", corpus("expression"), ids=lambda path: path.name)
def test_kept_expression_messages(path: Path) -> None:
    survives(handle_expression, path.read_bytes())
