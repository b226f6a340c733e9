"""Remote tests talk to themselves: no socket of theirs is bound to anything but the loopback."""

import pytest


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE candidates on 127.0.0.1 only, whatever the machine's addresses are."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
