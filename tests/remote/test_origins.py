"""Pages of other origins, names that are not this host's, and addresses behind proxies."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ConfigError
from stream.remote.refusals import RefusedError
from stream.remote.server.http.origins import Origins, client_address
from stream.remote.settings import ServeSettings


def origins(tokens_required: bool = False, **values: Any) -> Origins:
    return Origins(ServeSettings(**values), tokens_required)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost", "localhost.:8080", "[::1]:8080", "192.168.1.5:8080", "a.localhost"],
)
def test_own_names_and_addresses_are_answered(host: str) -> None:
    origins().check_host(host)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8080", 421),
        ("localhost.evil.example", 421),
        (None, 400),
        ("", 400),
        ("a b", 400),
        ("host:port", 400),
        ("host/path", 400),
        ("user@host", 400),
        ("x:1, y:1", 400),
    ],
)
def test_foreign_names_are_refused(host: str | None, status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        origins().check_host(host)
    assert caught.value.status == status


def test_names_matter_where_there_is_no_token_and_on_loopback() -> None:
    origins(host="0.0.0.0", tokens_required=True).check_host("cam.example")
    for closed in (origins(host="0.0.0.0"), origins(tokens_required=True)):
        with pytest.raises(RefusedError):
            closed.check_host("cam.example")
    origins(origins=("https://cam.example",)).check_host("cam.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "127.0.0.1:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://LOCALHOST:8080", "localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://cam.example", "cam.example"),
        ("https://cam.example", "cam.example:443"),
        ("http://cam.example", "cam.example:80"),
        ("https://other.example:8443", "127.0.0.1:8080"),
    ],
)
def test_programs_own_pages_and_allowed_ones_pass(origin: str | None, host: str) -> None:
    origins(origins=("https://other.example:8443",)).check_origin(origin, host, secure=False)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://127.0.0.1:8081",
        "http://127.0.0.1:8080.evil.example",
        "http://evil.example#127.0.0.1:8080",
        "http://127.0.0.1:8080@evil.example",
        "file://",
        "chrome-extension://abc",
        "ftp://127.0.0.1:8080",
        "https://other.example",
    ],
)
def test_other_pages_are_refused(origin: str) -> None:
    with pytest.raises(RefusedError) as caught:
        origins(origins=("https://other.example:8443",)).check_origin(origin, "127.0.0.1:8080", secure=False)
    assert caught.value.status == 403


def test_a_page_without_tls_may_not_use_a_server_with_it() -> None:
    with pytest.raises(RefusedError):
        origins().check_origin("http://cam.example:8443", "cam.example:8443", secure=True)
    origins().check_origin("https://cam.example:8443", "cam.example:8443", secure=True)


@pytest.mark.parametrize(
    "text", ["*", "cam.example", "https://cam.example/path", "https://", "wss://cam.example"]
)
def test_an_origin_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="origins"):
        origins(origins=(text,))


def test_forwarded_addresses_are_believed_of_proxies_only() -> None:
    proxies = ("127.0.0.1", "10.0.0.2")
    assert client_address("192.0.2.1", "203.0.113.9", proxies) == "192.0.2.1"
    assert client_address("127.0.0.1", None, proxies) == "127.0.0.1"
    assert client_address("127.0.0.1", "203.0.113.9", proxies) == "203.0.113.9"
    assert client_address("127.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", proxies) == "203.0.113.9"
    assert client_address("127.0.0.1", "evil, not an address", proxies) == "127.0.0.1"


@given(st.text(max_size=80), st.text(max_size=80))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_any_header_is_allowed_or_refused(host: str, origin: str) -> None:
    checked = origins()
    with contextlib.suppress(RefusedError):
        checked.check_host(host)
        checked.check_origin(origin, host, secure=False)
