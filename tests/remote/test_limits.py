"""Rates and places by address, in tables that do not grow."""

from __future__ import annotations

import pytest

from stream.remote.refusals import RefusedError
from stream.remote.server.http.limits import ADDRESSES, Places, RateLimit, address_key


def test_a_minutes_worth_at_once_then_as_it_fills() -> None:
    now = 0.0
    limit = RateLimit(60, clock=lambda: now)
    for _ in range(60):
        assert limit.wait("a") == 0
        limit.take("a")
    assert limit.wait("a") == pytest.approx(1.0)
    assert limit.wait("b") == 0, "others are not affected"
    with pytest.raises(RefusedError, match=r"try again in 1 s") as caught:
        limit.check("a", "offers")
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "1"})
    now = 1.0
    assert limit.wait("a") == 0
    limit.take("a")
    assert limit.wait("a") == pytest.approx(1.0)
    now = 1000.0
    for _ in range(60):
        limit.take("a")
    assert limit.wait("a") == pytest.approx(1.0), "no more than a minute's worth is saved"


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    limit = RateLimit(1, clock=lambda: 0.0)
    for number in range(ADDRESSES + 10):
        limit.take(str(number))
    assert len(limit) == ADDRESSES
    assert limit.wait("0") == 0
    assert limit.wait(str(ADDRESSES + 9)) == pytest.approx(60.0)


def test_places_are_counted_by_address_and_together() -> None:
    places = Places(2, 3)
    assert places.enter("a")
    assert places.enter("a")
    assert not places.enter("a")
    assert places.enter("a", limited=False)
    assert not places.enter("b"), "there are three in all"
    for _ in range(3):
        places.leave("a")
    assert places.open == 0
    assert not places._taken, "an address without places is forgotten"


def test_what_counts_as_one_address() -> None:
    assert address_key("192.0.2.1") == "192.0.2.1"
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("2001:db8:1:2:3:4:5:6") == address_key("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert address_key(None) == ""
