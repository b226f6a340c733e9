"""Addresses as a person writes them: servers, sessions, tokens."""

from __future__ import annotations

import pytest

from stream.errors import ConfigError
from stream.remote.client.address import Address, parse_address, shown_url


@pytest.fixture(autouse=True)
def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8080", Address("http://host:8080")),
        ("http://host:8080/", Address("http://host:8080")),
        ("https://host", Address("https://host")),
        ("http://host/#session=a-1", Address("http://host", "a-1")),
        ("http://host/whep/a-1", Address("http://host", "a-1")),
        ("https://host/faces/whep/a", Address("https://host/faces", "a")),
        ("https://host/faces/#session=a&token=t", Address("https://host/faces", "a", "t")),
        ("http://[::1]:8080#token=t", Address("http://[::1]:8080", None, "t")),
        ("http://host#token=a+b/c%2Bd==", Address("http://host", None, "a+b/c+d==")),
    ],
)
def test_addresses(url: str, expected: Address) -> None:
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "host:8080", "ftp://host", "http://", "http://host:99999", "http://user:pw@host", "http://host?x=1",
        "http://host/#session=UPPER", "http://host/whep/../x", "http://host/#token=a%20b", "http://ho\nst",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_address(url)
    assert "pw" not in str(refused.value)


def test_tokens_come_from_the_option_then_the_address_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROSOPON_TOKEN", "three")
    assert parse_address("http://host").token == "three"
    assert parse_address("http://host#token=two").token == "two"
    address = parse_address("http://host#token=two", "name", "one")
    assert (address.token, address.session) == ("one", "name")
    assert address.headers == {"Authorization": "Bearer one"}
    assert "one" not in repr(address).replace("None", "")
    assert shown_url("http://host/#token=two") == "http://host/"


@pytest.mark.parametrize(
    ("url", "exposed"),
    [("http://host", True), ("https://host", False), ("http://127.0.0.1:1", False), ("http://[::1]", False)],
)
def test_a_token_in_the_clear_is_noticed(url: str, exposed: bool) -> None:
    assert parse_address(url, token="t").exposed is exposed
    assert not parse_address(url).exposed
