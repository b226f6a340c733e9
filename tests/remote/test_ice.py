"""ICE servers: nothing unasked, credentials that end, headers that clients read."""

import pytest

from stream.errors import ConfigError
from stream.remote.settings import IceSettings
from stream.remote.transport.ice import ice_servers, ice_servers_json, link_headers, turn_credentials

TURN = IceSettings(
    stun=("stun:stun.example.org:3478",),
    turn=("turn:turn.example.org:3478?transport=udp",),
    turn_secret="north",
    turn_seconds=600,
)


def test_no_server_is_asked_by_default() -> None:
    assert ice_servers(IceSettings()) == []
    assert link_headers(IceSettings()) == []


def test_credentials_are_the_hmac_of_end_and_name() -> None:
    # Computed with: printf '1700000600:prosopon' | openssl dgst -sha1 -hmac north -binary | base64
    assert turn_credentials("north", 600, now=1_700_000_000) == (
        "1700000600:prosopon",
        "Klge/KhnRf3jwhUfcG986FM8kiw=",
    )


def test_link_headers_hold_credentials_for_turn_only() -> None:
    stun, turn = link_headers(TURN)
    assert stun == '<stun:stun.example.org:3478>; rel="ice-server"'
    assert turn.startswith('<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="')
    assert turn.endswith('"; credential-type="password"')
    assert "north" not in turn


def test_the_page_gets_what_a_browser_takes() -> None:
    stun, turn = ice_servers_json(TURN)
    assert stun == {"urls": "stun:stun.example.org:3478"}
    assert set(turn) == {"urls", "username", "credential"}


@pytest.mark.parametrize(
    "url",
    ["turn:turn.example.org", "stun:", 'stun:a"b', "http://stun.example.org", "stun:a:b", "stun:[::1]:3478"],
)
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"ice\.stun"):
        link_headers(IceSettings(stun=(url,)))
