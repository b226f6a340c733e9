"""Which web pages may use the server, by which names it may be called, and whose address a request has."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from stream.errors import ConfigError
from stream.remote.refusals import RefusedError
from stream.remote.settings import ServeSettings, is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?"

_HOST = re.compile(_NAME)
"""A Host header: a name or address, and a port."""

_ORIGIN = re.compile(rf"(https?)://{_NAME}/?")


class Origins:
    """Which pages may use the server, and by which names it may be called.

    A browser says with every request that could do harm which page made it (Origin): pages of this server
    and of `ServeSettings.origins` may. That trusts the name by which the server was called (Host), which a
    hostile page can choose by pointing its own name at this machine (DNS rebinding); so where the server
    listens to this machine only, or asks for no token, the name must be an address, one of this machine's
    names, or that of an allowed origin.

    :raises ConfigError: an origin is not ``scheme://host[:port]``.
    """

    def __init__(self, settings: ServeSettings, tokens_required: bool) -> None:
        self._allowed = frozenset(_origin(text) for text in settings.origins)
        self._names: frozenset[str] | None = None
        if is_loopback(settings.host) or not tokens_required:
            self._names = frozenset({*_own_names(settings.host), *(host for _, host, _ in self._allowed)})

    def check_host(self, host: str | None) -> str:
        """Give the Host header back if the server may be called by that name.

        :raises RefusedError: 421 where the name is not its own, 400 where there is none.
        """
        match = _HOST.fullmatch(host or "")
        if match is None or host is None:
            raise RefusedError(400, "The Host header is missing or no name of a host.")
        name = _name(match[1])
        if self._names is None or name in self._names or name.endswith(".localhost") or _is_address(name):
            return host
        raise RefusedError(
            421, "The server is not known by this name; its owner can allow it with the setting origins."
        )

    def check_origin(self, origin: str | None, host: str, secure: bool) -> None:
        """Let programs pass, which send no origin, and pages of this server and of the allowed origins.

        :param host: the Host header, checked before.
        :param secure: the request came by TLS; without, a proxy in front may have it.
        :raises RefusedError: 403 where a page of another origin asks.
        """
        if origin is None or self.is_allowed(origin):
            return
        match = _ORIGIN.fullmatch(origin)
        if match is not None and (match[1] == "https" or not secure):
            _, name, port = _origin(origin)
            if (name, port) == _host_and_port(host, match[1]):
                return
        raise RefusedError(
            403, "Pages of this origin may not use the server; its owner can allow them: setting origins."
        )

    def is_allowed(self, origin: str | None) -> bool:
        """Whether it is another origin that the settings allow."""
        return bool(origin and _ORIGIN.fullmatch(origin)) and _origin(origin or "") in self._allowed


def client_address(peer: str | None, forwarded: str | None, proxies: Iterable[str]) -> str:
    """The client's address: the peer's, or what trusted proxies say of it in X-Forwarded-For.

    :param forwarded: the header; each proxy appends the address it was called from, so the last one that is
        not a proxy's is the client's.
    """
    trusted = set(proxies)
    address = peer or ""
    for hop in reversed((forwarded or "").split(",")):
        if address not in trusted or not _is_address(hop.strip()):
            break
        address = hop.strip()
    return address


def _origin(text: str) -> tuple[str, str, int]:
    """Scheme, host and port of an origin."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ConfigError(f"origins: {text!r} must be http(s)://HOST or http(s)://HOST:PORT.")
    return match[1], _name(match[2]), int(match[3] or _DEFAULT_PORTS[match[1]])


def _host_and_port(host: str, scheme: str) -> tuple[str, int]:
    match = _HOST.fullmatch(host)
    assert match is not None
    return _name(match[1]), int(match[2] or _DEFAULT_PORTS[scheme])


def _name(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names(host: str) -> set[str]:
    name = socket.gethostname().lower()
    return {"localhost", host.lower(), name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}
