"""RTP timestamps to capture times."""

import time

import pytest

from stream.protocol.clock import media_time, monotonic_of, wall_micros
from stream.remote.transport.rtp_clock import NTP_EPOCH, STEP, RtpClock, media_micros

OFFSET = 0xFFFFF123


def rtp_of(micros: int) -> int:
    return (media_time(micros) + OFFSET) % 2**32


def ntp_of(micros: int) -> int:
    return int((micros / 1e6 + NTP_EPOCH) * 2**32)


@pytest.mark.parametrize("micros", [1_700_000_000_000_000, 1_700_000_000_000_007, 1_763_000_123_456_789])
def test_media_time_comes_back_across_the_wrap(micros: int) -> None:
    for near in (micros - 9_000_000, micros + 9_000_000):
        found = media_micros(rtp_of(micros), OFFSET, near)
        assert abs(found - micros) < 12
        assert media_time(found) == media_time(micros)


def test_the_publishers_word_comes_first() -> None:
    clock, arrival = RtpClock(), time.monotonic()
    taken = wall_micros(arrival - 0.08)
    clock.report(ntp_of(taken + 50_000), rtp_of(taken))
    clock.offset = OFFSET
    assert clock.captured(rtp_of(taken), arrival) == pytest.approx(monotonic_of(taken), abs=2e-5)


def test_sender_reports_say_when_a_picture_was_taken() -> None:
    clock, arrival = RtpClock(), time.monotonic()
    taken = wall_micros(arrival - 0.12)
    clock.report(ntp_of(taken - 1_000_000), (rtp_of(taken) - 90_000) % 2**32)
    assert clock.captured(rtp_of(taken), arrival) == pytest.approx(arrival - 0.12, abs=1e-4)


@pytest.mark.parametrize("wrong", [-3.0, 0.2, 86_400.0])
def test_a_clock_that_is_not_ours_is_not_believed(wrong: float) -> None:
    clock, arrival = RtpClock(), time.monotonic()
    micros = wall_micros(arrival + wrong)
    clock.report(ntp_of(micros), 1234)
    assert clock.captured(1234, arrival) == arrival


def test_a_report_without_a_clock_says_nothing() -> None:
    clock = RtpClock()
    clock.report(0, 1234)
    assert clock.captured(1234, 5.0) == 5.0


def test_an_implausible_word_of_the_publisher_is_not_believed() -> None:
    clock, arrival = RtpClock(), time.monotonic()
    clock.offset = (OFFSET + 90_000 * 60) % 2**32
    assert clock.captured(rtp_of(wall_micros(arrival)), arrival) == arrival


def test_time_never_stands_still_or_goes_back() -> None:
    clock, arrival = RtpClock(), time.monotonic()
    first = clock.captured(0, arrival)
    clock.offset = OFFSET
    second = clock.captured(rtp_of(wall_micros(arrival - 0.5)), arrival + 0.03)
    assert second == pytest.approx(first + STEP)
    assert clock.captured(rtp_of(wall_micros(arrival + 0.06)), arrival + 0.1) > second
