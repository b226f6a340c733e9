"""One ICE connection among those that an `IceLink` has one after the other."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import time
from typing import TYPE_CHECKING, Any

from aioice import Candidate, Connection, stun

if TYPE_CHECKING:
    from stream.remote.transport.ice_link import IceLink

LOOPBACK = "127.0.0.1"

GATHER_SECONDS = 2
"""How long an answer waits for STUN and TURN servers; addresses of this machine come at once."""

CHECK_SECONDS, CONSENT_SECONDS = 5.0, 30.0
"""Between two requests for consent, and how long one answer lasts (RFC 7675)."""

MAX_UNSENT = 262_144
"""Bytes that may wait for the network; asyncio would keep all that it does not take."""

MAX_ADDRESSES = 64
"""Addresses of the other side that a path keeps, those that it told and those that its checks came from: it
could send them from ever new ports."""


class IcePath(Connection):
    """One ICE connection of a link; what it receives goes to the link's queue."""

    def __init__(self, link: IceLink, **servers: Any) -> None:
        super().__init__(**servers)
        self._link = link
        self.taken = 0

    def data_received(self, data: bytes, component: int) -> None:
        """A datagram that is not STUN, from whomever; DTLS and SRTP check who it is from."""
        self._link.received(data)

    def check_incoming(self, message: Any, addr: tuple[str, int], protocol: Any) -> None:
        """An authenticated check or consent request of the other side."""
        self._link.heard = time.monotonic()
        if len(self._remote_candidates) < MAX_ADDRESSES or self._knows(addr):
            super().check_incoming(message, addr, protocol)

    def _knows(self, address: tuple[str, int]) -> bool:
        return any((known._network_host, known.port) == address for known in self._remote_candidates)

    @property
    def congested(self) -> bool:
        """Whether the network takes less than it is given. A relay's own transport does not tell."""
        pair = self._nominated.get(1)
        unsent = getattr(pair and pair.protocol.transport, "get_write_buffer_size", None)
        return unsent is not None and unsent() > MAX_UNSENT

    async def query_consent(self) -> None:
        """Ask for consent to send, again and again; without an answer for too long, close (RFC 7675).

        The base class does the same, but tells nobody of the answers.
        """
        answered = time.monotonic()
        while time.monotonic() - answered < CONSENT_SECONDS:
            await asyncio.sleep(CHECK_SECONDS * random.uniform(0.8, 1.2))
            for pair in list(self._nominated.values()):
                request = self.build_request(pair, nominate=False)
                key = str(self.remote_password).encode()
                try:
                    await pair.protocol.request(request, pair.remote_addr, key, retransmissions=0)
                except stun.TransactionError:
                    continue
                answered = self._link.heard = time.monotonic()
        self._query_consent_task = None  # close() would wait for it
        await self.close()

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = GATHER_SECONDS
    ) -> list[Candidate]:
        """As the base class, but on a machine without a network the loopback will do."""
        candidates: list[Candidate] = await super().get_component_candidates(
            component, addresses or [LOOPBACK], timeout
        )
        return candidates

    async def close(self) -> None:
        """Close the sockets; also called from within, when consent has expired."""
        await super().close()
        self._link.path_closed(self)


def usable(candidate: Candidate) -> bool:
    """Whether checks can be sent to it: UDP, the one component, one machine's address or an mDNS name."""
    if candidate.component != 1 or candidate.transport.lower() != "udp":
        return False
    if not 1 <= candidate.port <= 65535:
        return False
    if candidate.host.endswith(".local"):
        return len(candidate.host) <= 64
    try:
        address = ipaddress.ip_address(candidate.host)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)
