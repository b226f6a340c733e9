"""How much one address may ask of the server: rates, open connections, sizes of bodies."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from stream.remote.refusals import RefusedError

OFFER_BYTES = 64 * 1024
"""Longest SDP offer; a browser's is about 5 kB."""

FRAGMENT_BYTES = 16 * 1024
"""Longest body of a PATCH."""

BODY_SECONDS = 10.0
"""How long a body may take to arrive."""

ADDRESSES = 4096
"""Addresses that a table remembers; the one not seen for longest makes place."""

FAILED_TOKENS = 20
"""Wrong tokens a minute from one address before it has to wait."""

CONNECTIONS, SOCKETS = 256, 64
"""Open connections and WebSockets of one address."""

ALL_CONNECTIONS = 2048
"""Open connections of all addresses together; each costs some 50 kB."""


def address_key(address: str | None) -> str:
    """What counts as one address: IPv4 as it is, IPv6 by its /64, which one home or host has to itself."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return address or ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class RateLimit:
    """A token bucket for each address: a minute's worth at once, then as fast as it fills again.

    :param per_minute: how many.
    :param clock: seconds, monotonic; for tests.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, when

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, address: str) -> float:
        """Seconds until this address may again; 0 now."""
        return max(0.0, 1.0 - self._left(address)) * 60.0 / self._most

    def take(self, address: str) -> None:
        """Count one."""
        left = self._left(address)
        self._buckets[address] = (max(0.0, left - 1.0), self._clock())
        self._buckets.move_to_end(address)
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)

    def spend(self, address: str, what: str) -> None:
        """Count one, if it may. :raises RefusedError: see `check`."""
        self.check(address, what)
        self.take(address)

    def check(self, address: str, what: str) -> None:
        """:raises RefusedError: 429, with the time to wait."""
        seconds = self.wait(address)
        if seconds > 0:
            after = math.ceil(seconds)
            raise RefusedError(
                429,
                f"Too many {what} from your address; try again in {after} s.",
                {"Retry-After": str(after)},
            )

    def _left(self, address: str) -> float:
        left, when = self._buckets.get(address, (self._most, 0.0))
        return min(self._most, left + (self._clock() - when) * self._most / 60.0)


class Places:
    """How many things are open, by address and together.

    :param most: of one address.
    :param total: of all addresses.
    """

    def __init__(self, most: int, total: int) -> None:
        self._most = most
        self._total = total
        self._taken: dict[str, int] = {}
        self.open = 0

    def enter(self, address: str, limited: bool = True) -> bool:
        """Take a place, to be given back by `leave`; False if there is none.

        :param limited: whether the address's own limit counts.
        """
        taken = self._taken.get(address, 0)
        if self.open >= self._total or (limited and taken >= self._most):
            return False
        self._taken[address] = taken + 1
        self.open += 1
        return True

    def leave(self, address: str) -> None:
        """Give a place back."""
        self.open -= 1
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


async def read_body(request: web.BaseRequest, kind: str, most: int) -> str:
    """The body as text.

    :param kind: the content type that it must have.
    :param most: bytes.
    :raises RefusedError: 415 for another type or a compressed body, 413 where it is longer, 408 where it
        takes too long, 400 where it is not UTF-8.
    """
    if request.content_type != kind:
        raise RefusedError(415, f"The body must be {kind}.", {"Accept-Post": kind})
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(415, "Send the body uncompressed.", {"Accept-Encoding": "identity"})
    if request.content_length is not None and request.content_length > most:
        raise RefusedError(413, f"The body is longer than {most} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while part := await request.content.read(most + 1 - len(body)):
                body += part
                if len(body) > most:
                    raise RefusedError(413, f"The body is longer than {most} bytes.")
    except TimeoutError as error:
        raise RefusedError(408, "The body took too long to arrive.") from error
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(400, "The body is not UTF-8.") from error
