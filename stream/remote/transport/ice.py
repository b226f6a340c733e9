"""ICE servers as settings name them, also for WHIP's Link headers and for the page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Any

from aiortc import RTCIceServer

from stream.errors import ConfigError
from stream.remote.settings import IceSettings

USER = "prosopon"
"""Named in a TURN user name, behind its end."""

STUN = re.compile(r"stuns?:[\w.\-]+(:\d{1,5})?")
TURN = re.compile(r"turns?:[\w.\-]+(:\d{1,5})?(\?transport=(udp|tcp))?")
"""What aiortc can parse: names and IPv4 addresses. A server that it cannot would fail every connection."""


def turn_credentials(secret: str, seconds: int, now: float | None = None) -> tuple[str, str]:
    """User name and password that a TURN server with the same secret accepts for ``seconds``.

    The "TURN REST API" (draft-uberti-behave-turn-rest-00), coturn's ``use-auth-secret``: the user name is
    the end, seconds since 1970, and a name; the password its HMAC-SHA1, base64.
    """
    end = int(time.time() if now is None else now) + seconds
    username = f"{end}:{USER}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def ice_servers(settings: IceSettings) -> list[RTCIceServer]:
    """The servers, with fresh credentials; aiortc takes the first of each kind.

    An empty list, not None: for None aiortc asks a STUN server of its own choice.

    :raises ConfigError: an address is not that of a STUN or TURN server.
    """
    for url in settings.stun:
        if not STUN.fullmatch(url):
            raise ConfigError(f"ice.stun holds {url!r}; write stun:host:port.")
    for url in settings.turn:
        if not TURN.fullmatch(url):
            raise ConfigError(f"ice.turn holds {url!r}; write turn:host:port?transport=udp.")
    servers = [RTCIceServer(url) for url in settings.stun]
    username = credential = None
    if settings.turn_secret is not None:
        username, credential = turn_credentials(
            settings.turn_secret.get_secret_value(), settings.turn_seconds
        )
    return servers + [RTCIceServer(url, username, credential) for url in settings.turn]


def link_headers(settings: IceSettings) -> list[str]:
    """Values of WHIP's ``Link`` headers, one per server (RFC 9725 section 4.6).

    :raises ConfigError: as `ice_servers`.
    """
    return [_link(server) for server in ice_servers(settings)]


def _link(server: RTCIceServer) -> str:
    link = f'<{server.urls}>; rel="ice-server"'
    if server.username is not None:
        link += f'; username="{server.username}"; credential="{server.credential}"'
        link += '; credential-type="password"'
    return link


def ice_servers_json(settings: IceSettings) -> list[dict[str, Any]]:
    """The servers as the ``iceServers`` of a browser's RTCPeerConnection.

    :raises ConfigError: as `ice_servers`.
    """
    listed: list[dict[str, Any]] = []
    for server in ice_servers(settings):
        entry: dict[str, Any] = {"urls": server.urls}
        if server.username is not None:
            entry |= {"username": server.username, "credential": server.credential}
        listed.append(entry)
    return listed
