"""WebRTC from a client's side: the connection, its offer and its answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiortc import RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcicetransport import parse_stun_turn_uri

from stream.errors import RemoteError
from stream.remote.transport.rtc_inner import PeerConnection

CONNECT_SECONDS = 5.0
"""How long ICE, DTLS and the data channels may take."""

CLOSE_SECONDS = 2.0


class IceError(RemoteError):
    """No way to the server's media ports was found; a WebSocket may work."""


def peer_connection(servers: list[dict[str, Any]]) -> PeerConnection:
    """A connection that uses these ICE servers and, unlike aiortc by itself, no others; a server can make it
    keep and do as little as a client can a server.

    :param servers: as RTCPeerConnection takes them in browsers; unusable ones are passed over.
    """
    usable = []
    for server in servers:
        urls, user, secret = (server.get(key) for key in ("urls", "username", "credential"))
        usable += [
            RTCIceServer(urls=url, username=user, credential=secret)
            for url in (urls if isinstance(urls, list) else [urls])
            if _is_ice_url(url)
        ]
    return PeerConnection(usable)


def _is_ice_url(url: object) -> bool:
    """Whether aiortc can read it; one that it cannot would fail every connection."""
    try:
        return isinstance(url, str) and bool(parse_stun_turn_uri(url))
    except ValueError:
        return False


async def describe(connection: RTCPeerConnection) -> str:
    """The connection's offer, with all its candidates."""
    await connection.setLocalDescription(await connection.createOffer())
    return str(connection.localDescription.sdp)


async def accept_answer(connection: RTCPeerConnection, sdp: str) -> None:
    """Take the server's answer.

    :raises RemoteError: it is no answer to our offer.
    """
    try:
        await connection.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    except Exception as error:  # aiortc's parser raises whatever its own lines happen to
        raise RemoteError(
            "The server's answer cannot be used; is it a Prosopon of another version?"
        ) from error


async def close_peer(connection: RTCPeerConnection) -> None:
    """Close a connection, in bounded time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()
