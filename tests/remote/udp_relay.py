"""A bad network on the loopback: drops, delays and reorders the datagrams between two WebRTC peers."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass
from types import TracebackType
from typing import cast

LOOPBACK = "127.0.0.1"

CANDIDATE = re.compile(r"^a=candidate:(\S+ 1 udp \d+) (\S+) (\d+) typ host.*$", re.IGNORECASE)


@dataclass
class Traffic:
    """What went one way.

    :ivar passed, dropped: datagrams.
    :ivar bytes: of those passed.
    """

    passed: int = 0
    dropped: int = 0
    bytes: int = 0


class _Side(asyncio.DatagramProtocol):
    """The port that stands for one peer: what comes here is for it.

    :ivar real: where the peer really is, once its SDP was seen.
    """

    def __init__(self, relay: UdpRelay) -> None:
        self.relay = relay
        self.real: tuple[str, int] | None = None
        self.traffic = Traffic()
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.relay.carry(self, data)

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])


class UdpRelay:
    """Stands between the one who offers and the one who answers; each sees it in the other's place.

    ``offer`` and ``answer`` rewrite the SDPs on their way. Nothing is dropped or delayed before `impair`:
    connections are made over a good network.

    :ivar to_offerer, to_answerer: what went there.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._loss, self._delay = 0.0, (0.0, 0.0)
        self._offerer, self._answerer = _Side(self), _Side(self)
        self._waiting: set[asyncio.TimerHandle] = set()

    @property
    def to_offerer(self) -> Traffic:
        return self._offerer.traffic

    @property
    def to_answerer(self) -> Traffic:
        return self._answerer.traffic

    async def __aenter__(self) -> UdpRelay:
        loop = asyncio.get_running_loop()
        for side in (self._offerer, self._answerer):
            await loop.create_datagram_endpoint(lambda side=side: side, local_addr=(LOOPBACK, 0))  # type: ignore[misc]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in self._waiting:
            timer.cancel()
        for side in (self._offerer, self._answerer):
            assert side.transport is not None
            side.transport.close()

    def impair(self, loss: float, delay: tuple[float, float] = (0.010, 0.050)) -> None:
        """From now on lose that share of the datagrams, both ways, and delay each of the others.

        :param delay: least and most, seconds; each datagram draws its own, so that they overtake each other.
        """
        self._loss, self._delay = loss, delay

    def offer(self, sdp: str) -> str:
        """The offer as the answerer is to see it."""
        return self._rewritten(sdp, self._offerer)

    def answer(self, sdp: str) -> str:
        """The answer as the offerer is to see it."""
        return self._rewritten(sdp, self._answerer)

    def _rewritten(self, sdp: str, side: _Side) -> str:
        """With the relay's address for the first host candidate and without the others.

        All media share the first section's transport (BUNDLE), so its candidate is enough.
        """
        lines = []
        for line in sdp.splitlines():
            found = CANDIDATE.match(line)
            if found is not None and side.real is None:
                side.real = found[2], int(found[3])
                lines.append(f"a=candidate:{found[1]} {LOOPBACK} {side.port} typ host")
            elif not line.startswith("a=candidate:"):
                lines.append(line)
        return "\r\n".join(lines) + "\r\n"

    def carry(self, to: _Side, data: bytes) -> None:
        """Pass a datagram on, later or never."""
        if self._random.random() < self._loss:
            to.traffic.dropped += 1
            return
        delay = self._random.uniform(*self._delay)
        if delay == 0:
            self._deliver(to, data)
            return
        loop = asyncio.get_running_loop()

        def deliver() -> None:
            self._waiting.discard(timer)
            self._deliver(to, data)

        timer = loop.call_later(delay, deliver)
        self._waiting.add(timer)

    def _deliver(self, to: _Side, data: bytes) -> None:
        """From the port that the receiver knows as the other peer."""
        other = self._answerer if to is self._offerer else self._offerer
        if to.real is None or other.transport is None or other.transport.is_closing():
            return
        to.traffic.passed += 1
        to.traffic.bytes += len(data)
        other.transport.sendto(data, to.real)
