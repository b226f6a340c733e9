"""When a received picture was taken, from its RTP timestamp."""

from __future__ import annotations

from stream.protocol.clock import MEDIA_RATE, monotonic_of, wall_micros

REPORT_WINDOW = 2.0
"""A capture time by the sender's own clock that lies further back than this, seconds, is not believed:
that clock is not ours."""

TOLD_WINDOW = 10.0
"""The same for a time by our clock, as a publisher knows it."""

AHEAD = 0.05
"""How far, seconds, a capture time may lie after the arrival: clocks are never quite the same."""

STEP = 1e-4
"""Least time between two pictures, seconds: filters over time must not see it stand still or go back."""

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP begins, to 1970."""


def media_micros(rtp: int, offset: int, near: int) -> int:
    """Microseconds since 1970 of which `stream.protocol.clock.media_time` plus ``offset`` is ``rtp``.

    :param rtp, offset: modulo 2^32.
    :param near: microseconds since 1970, to tell which of the many: RTP timestamps wrap after 13 hours.
    """
    ticks = near * 9 // 100
    ticks += _signed(rtp - offset - ticks)
    return -(-ticks * 100 // 9)


class RtpClock:
    """Maps RTP timestamps of one video stream to capture times.

    What the publisher told of its track (`messages.Clock`) comes first, then the sender reports of RTCP
    (RFC 3550 section 6.4.1), each where the time is plausible; else the arrival.

    :ivar offset: what the publisher told: RTP timestamp less media time, modulo 2^32.
    """

    def __init__(self) -> None:
        self.offset: int | None = None
        self._report: tuple[float, int] | None = None
        self._last = float("-inf")

    def report(self, ntp: int, rtp: int) -> None:
        """A sender report came: the sender's clock, NTP in 32.32 bits, when the timestamp was ``rtp``."""
        if ntp:
            self._report = (ntp / 2**32 - NTP_EPOCH, rtp)

    def captured(self, rtp: int, arrival: float) -> float:
        """When the picture was taken, seconds of `time.monotonic`, later than those asked for before.

        :param arrival: of its first packet, same clock.
        """
        taken = max(self._taken(rtp, arrival), self._last + STEP)
        self._last = taken
        return taken

    def _taken(self, rtp: int, arrival: float) -> float:
        if self.offset is not None:
            told = monotonic_of(media_micros(rtp, self.offset, wall_micros(arrival)))
            if arrival - TOLD_WINDOW <= told <= arrival + AHEAD:
                return min(told, arrival)
        if self._report is not None:
            seconds, at = self._report
            reported = monotonic_of(round((seconds + _signed(rtp - at) / MEDIA_RATE) * 1e6))
            if arrival - REPORT_WINDOW <= reported <= arrival + AHEAD:
                return min(reported, arrival)
        return arrival


def _signed(ticks: int) -> int:
    """A difference modulo 2^32 as the nearest to 0."""
    return (ticks + 2**31) % 2**32 - 2**31
