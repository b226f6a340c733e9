"""The live chain makes of the sample what it made when `tools/make_golden.py` last ran.

Processors add up in other orders, so values agree to a twentieth of a millimetre, not to the bit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from stream.protocol.mesh_codec import RANGE, MeshDecoder, MeshEncoder
from stream.types import Array, Capture

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from make_golden import EVERY_NTH, GOLDEN, captures, described


@pytest.fixture(scope="module")
def made() -> list[Capture]:
    return captures()


@pytest.fixture(scope="module")
def golden() -> dict[str, Array]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def test_meshes_are_those_of_before(made: list[Capture], golden: dict[str, Array]) -> None:
    now = described(made)
    before_valid, valid = (np.unpackbits(maps["valid"], axis=1).astype(bool) for maps in (golden, now))
    assert (before_valid & valid).sum() / (before_valid | valid).sum() > 0.995
    both = (before_valid & valid)[:, ::EVERY_NTH][:, : now["vertices"].shape[1]]
    apart = np.linalg.norm(now["vertices"] - golden["vertices"], axis=-1)[both]
    assert np.median(apart) < 0.05
    assert np.percentile(apart, 95) < 0.3
    np.testing.assert_allclose(now["triangles"], golden["triangles"], rtol=0.005)


def test_poses_and_expressions_are_those_of_before(made: list[Capture], golden: dict[str, Array]) -> None:
    now = described(made)
    np.testing.assert_allclose(now["poses"][:, :3, :3], golden["poses"][:, :3, :3], atol=2e-3)
    np.testing.assert_allclose(now["poses"][:, :3, 3], golden["poses"][:, :3, 3], atol=1.0)
    np.testing.assert_allclose(now["expressions"], golden["expressions"], atol=0.02)


def test_the_wire_holds_the_surfaces_within_half_a_level(made: list[Capture]) -> None:
    bits = 12
    encoder, decoder = MeshEncoder(bits), MeshDecoder()
    for number, capture in enumerate(made, start=1):
        (person,) = capture.people
        assert person.surface is not None
        message = encoder.encode(number, person.face, person.surface, number, number * 33_333)
        frame = decoder.decode(number, message.body)
        assert frame is not None
        solid = np.isfinite(frame.depth)
        assert (solid == (person.surface.alpha >= 0.5)).all()
        error = np.abs(frame.depth - person.surface.depth)[solid].max()
        assert error <= 0.5 * 2 * RANGE / (2**bits - 2) + 1e-6
        np.testing.assert_allclose(frame.person.face.pose, person.face.pose, rtol=1e-6)
