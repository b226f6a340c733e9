"""The server's clock, found out by pings."""

from __future__ import annotations

import pytest

from stream.protocol.messages import Pong
from stream.remote.client.clock import ServerClock


def test_the_clocks_difference_lies_within_the_bounds_of_all_pings() -> None:
    now = [100.0]
    clock = ServerClock(lambda: now[0])
    assert clock.local(1) is None
    assert clock.server(1.0) is None
    # Answers are held up on their way there, or back; all but one of them at least 20 ms.
    for there, back in ((0.02, 0.5), (0.5, 0.004), (0.002, 0.03), (0.02, 0.02), (0.03, 0.5)):
        ping = clock.ping()
        server = round((now[0] + there) * 1e6) + 5_000_000
        now[0] += there + back
        clock.pong(Pong(time=ping.time, server=server))
    assert clock.server(100.0) == pytest.approx(105_000_000 - 1_000, abs=1), "(2 ms - 4 ms) / 2"
    assert clock.local(clock.server(123.4) or 0) == pytest.approx(123.4, abs=1e-6)
    before = clock.server(100.0)
    clock.pong(Pong(time=now[0] * 1e3 + 50, server=1))  # from the future
    clock.pong(Pong(time=-1e9, server=1))
    assert clock.server(100.0) == before
