"""Bits given and taken so that a stream of meshes keeps to its bit rate."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh.wire_samples import moving_shots

from stream.protocol.mesh_codec import MeshDecoder, MeshEncoder
from stream.protocol.precision import Precision


def test_bits_fall_while_messages_are_too_large_and_come_back() -> None:
    precision = Precision(12, budget=5000)
    sizes = {12: 7000, 11: 6000, 10: 5200}
    changes = [precision.bits for _ in range(150) if precision.sent(sizes[precision.bits])]
    assert changes == [11, 10]  # and no further: 10 is the least
    quiet = {12: 4000, 11: 3400, 10: 3000}
    changes = [precision.bits for _ in range(150) if precision.sent(quiet[precision.bits])]
    assert changes == [11, 12]


def test_without_a_budget_nothing_changes() -> None:
    precision = Precision(14, None)
    assert not any(precision.sent(10**6) for _ in range(100))
    assert precision.bits == 14


@settings(max_examples=50, deadline=None, derandomize=True)
@given(size=st.floats(1000, 9000), growth=st.floats(1.1, 1.25), budget=st.floats(1000, 9000))
def test_steady_messages_end_in_one_precision(size: float, growth: float, budget: float) -> None:
    precision = Precision(13, budget)
    changes = [
        number for number in range(1500) if precision.sent(round(size * growth ** (precision.bits - 10)))
    ]
    assert not changes or changes[-1] < 700


def test_a_stream_keeps_to_its_budget_and_stays_decodable() -> None:
    free, bound, decoder = MeshEncoder(12), MeshEncoder(12, budget=1), MeshDecoder()
    sizes, bits = [], []
    for number, shot in enumerate(moving_shots(40), 1):
        given_shot = (number, shot.face, shot.surface, shot.index, shot.captured)
        message = bound.encode(*given_shot)
        assert decoder.decode(number, message.body) is not None
        sizes.append((len(message.body), len(free.encode(*given_shot).body)))
        bits.append(message.body[0])
    assert (bits[0], bits[-1]) == (12, 10)
    assert bits == sorted(bits, reverse=True)
    small, large = np.mean(sizes[20:], axis=0)
    assert small < 0.85 * large
