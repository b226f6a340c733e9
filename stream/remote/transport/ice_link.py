"""An ICE connection that can be restarted while media flow: a new path takes over, then the old one closes.

aiortc ties a transport to one `aioice.Connection` for life and has no ICE restart. `IceLink` stands in that
place, keeps the same interface, and holds one connection (a path) after the other. DTLS, SRTP and SCTP above
it see one stream of datagrams that never breaks (RFC 8445 section 2.4).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from aioice import Candidate, ConnectionClosed

from stream.remote.transport.datagrams import readable
from stream.remote.transport.ice_path import IcePath, usable

log = logging.getLogger(__name__)

RETIRE_SECONDS = 2.0
"""How long the old path still receives after the new one took over."""

RESTART_SECONDS = 10.0
"""How long a restart may take once the old path has lost consent (RFC 9725 section 4.3.3)."""

MAX_CANDIDATES = 32
"""Candidates taken from the other side for one path: each is an address that we send checks to."""

MAX_WAITING = 2048
"""Datagrams received and not yet read; a full socket buffer would drop them as well."""


class _OfPath:
    """An attribute of a link that is its newest path's, under the same name."""

    def __set_name__(self, owner: type[IceLink], name: str) -> None:
        self._name = name

    def __get__(self, link: IceLink, owner: type[IceLink]) -> Any:
        return getattr(link.path, self._name)

    def __set__(self, link: IceLink, value: object) -> None:
        setattr(link.path, self._name, value)


class IceLink:
    """Stands in the place of the `aioice.Connection` of an aiortc transport.

    :param servers: of `aioice.Connection`: ``stun_server``, ``turn_server`` and its credentials.
    :ivar heard: when the other side last gave a sign of life, `time.monotonic`.
    :ivar lost: datagrams dropped: received and not read in time, or not sent.
    """

    def __init__(self, ice_controlling: bool, **servers: Any) -> None:
        self.heard = time.monotonic()
        self.lost = 0
        self._servers = servers
        self._controlling = ice_controlling
        self._newest = self._path()
        self._active: IcePath | None = None
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._settled = asyncio.Event()
        self._closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # What aiortc's gatherer and transport use of a connection.

    async def gather_candidates(self) -> None:
        """Open sockets and ask the servers."""
        await self._newest.gather_candidates()

    local_candidates, remote_candidates = _OfPath(), _OfPath()
    local_username, local_password = _OfPath(), _OfPath()
    remote_username, remote_password = _OfPath(), _OfPath()
    remote_is_lite = _OfPath()

    @property
    def ice_controlling(self) -> bool:
        return bool(self._newest.ice_controlling)

    @ice_controlling.setter
    def ice_controlling(self, value: bool) -> None:
        self._controlling = self._newest.ice_controlling = value

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """Let the newest path try an address; more than `MAX_CANDIDATES` and useless ones are passed over.

        The end of candidates is not passed on: whoever waits for the connection has a time limit of its own,
        and late candidates do no harm.
        """
        path = self._newest
        if candidate is None or path.taken >= MAX_CANDIDATES or not usable(candidate):
            return
        path.taken += 1
        if candidate.host.endswith(".local"):
            # Resolved by multicast: that takes up to a second, or fails where there is no multicast.
            self._spawn(self._add_named(path, candidate))
        else:
            await path.add_remote_candidate(candidate)

    async def connect(self) -> None:
        """Wait until a path carries data.

        :raises ConnectionError: none does, or the link was closed.
        """
        self._spawn(self._drive(self._newest))
        await self._settled.wait()
        if self._active is None:
            raise ConnectionError("ICE negotiation failed")

    async def recv(self) -> bytes:
        """The next datagram.

        :raises ConnectionError: the link is not connected, or closed.
        """
        if self._active is None or self._closed.is_set():
            raise ConnectionError("Cannot receive data, not connected")
        data = await self._inbox.get()
        if data is None:
            raise ConnectionError("Connection lost while receiving data")
        return data

    async def send(self, data: bytes) -> None:
        """Send a datagram; it is lost where the network is congested, or a restart is under way and the
        old path gone.

        :raises ConnectionError: the link is not connected, or closed.
        """
        if self._active is None or self._closed.is_set():
            raise ConnectionError("Cannot send data, not connected")
        if self._active.congested:
            self.lost += 1
            return
        try:
            await self._active.send(data)
        except ConnectionError:
            self.lost += 1

    async def get_event(self) -> ConnectionClosed:
        """Wait for the link's end."""
        await self._closed.wait()
        return ConnectionClosed()

    async def close(self) -> None:
        """Close all paths."""
        self._end()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._newest.close()
        if self._active is not None and self._active is not self._newest:
            await self._active.close()

    # The restart.

    @property
    def path(self) -> IcePath:
        """The newest path: the one whose credentials are told."""
        return self._newest

    async def renew(self, **servers: Any) -> None:
        """Begin a restart: from now on credentials and candidates are those of a new path, not yet connected.

        Data go on over the old one. A restart that did not come to its end is given up.

        :param servers: as those of the class, where they have new credentials.
        :raises ConnectionError: the link is closed.
        """
        if self._closed.is_set():
            raise ConnectionError("Cannot restart ICE, the connection is closed")
        self._servers |= servers
        stale, self._newest = self._newest, self._path()
        path = self._newest
        if stale is not self._active:
            await stale.close()
        await path.gather_candidates()
        if self._closed.is_set():  # meanwhile, with the path's sockets not yet there
            await path.close()
            raise ConnectionError("Cannot restart ICE, the connection is closed")

    def reconnect(self, username: str, password: str) -> None:
        """Connect the newest path to the other side's new credentials; it takes over once it is connected."""
        self._newest.remote_username = username
        self._newest.remote_password = password
        self._spawn(self._drive(self._newest))

    # What paths tell.

    def received(self, data: bytes) -> None:
        """A path got a datagram, from whomever."""
        data = readable(data)
        if not data:
            self.lost += 1
            return
        self.heard = time.monotonic()
        try:
            self._inbox.put_nowait(data)
        except asyncio.QueueFull:
            self.lost += 1

    def path_closed(self, path: IcePath) -> None:
        """A path closed: the link's end, unless another one carries the data, or will soon."""
        if path is not self._active or self._closed.is_set():
            return
        if path is self._newest:
            self._end()
        else:
            self._spawn(self._end_unless_replaced(path))

    def _path(self) -> IcePath:
        return IcePath(self, ice_controlling=self._controlling, **self._servers)

    async def _drive(self, path: IcePath) -> None:
        """Connect a path and let it take over."""
        try:
            await path.connect()
        except Exception as error:  # aioice asserts what a hostile peer can break
            log.debug("An ICE path did not connect: %s", error)
            if path is self._newest and self._active is None:
                self._settled.set()
            return
        if path is not self._newest:
            await path.close()
            return
        old, self._active = self._active, path
        self.heard = time.monotonic()
        self._settled.set()
        if old is not None:
            try:
                await asyncio.sleep(RETIRE_SECONDS)
            finally:
                await old.close()

    async def _end_unless_replaced(self, path: IcePath) -> None:
        """The path that carries the data is closed: wait for the restart under way."""
        await asyncio.sleep(RESTART_SECONDS)
        if path is self._active:
            self._end()

    async def _add_named(self, path: IcePath, candidate: Candidate) -> None:
        try:
            await path.add_remote_candidate(candidate)
        except (OSError, ValueError) as error:
            log.debug("A named ICE candidate is passed over: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self) -> None:
        self._closed.set()
        self._settled.set()
        if self._inbox.full():
            self._inbox.get_nowait()
        self._inbox.put_nowait(None)
