"""The clock on the wire: between monotonic time, microseconds since 1970, and RTP ticks."""

import itertools
import time
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.protocol.clock import MEDIA_RATE, media_time, monotonic_of, wall_micros


def test_the_wall_clock_is_the_systems_at_the_start() -> None:
    assert abs(wall_micros(time.monotonic()) / 1e6 - time.time()) < 1.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seconds=st.floats(0, 1e8))
def test_there_and_back_is_exact_to_a_microsecond(seconds: float) -> None:
    assert abs(monotonic_of(wall_micros(seconds)) - seconds) <= 1e-6


@settings(max_examples=200, deadline=None, derandomize=True)
@given(micros=st.integers(0, 2**53))
def test_media_time_is_the_exact_number_of_ticks_rounded_down(micros: int) -> None:
    assert media_time(micros) == int(Fraction(micros, 1_000_000) * MEDIA_RATE) % 2**32


def test_neighbouring_frames_have_media_times_of_their_own() -> None:
    start = 1_800_000_000_000_000
    ticks = [media_time(start + frame * 1_000_000 // 120) for frame in range(1000)]
    assert len(set(ticks)) == 1000
    steps = {(after - before) % 2**32 for before, after in itertools.pairwise(ticks)}
    assert steps <= {749, 750, 751}
