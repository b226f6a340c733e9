"""What watching and publishing have in common: a connection that comes back by itself when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from abc import ABC, abstractmethod
from typing import Generic, Protocol, Self, TypeVar

from stream.errors import RemoteError
from stream.remote.client.address import Address
from stream.remote.client.signalling import AccessError, Signalling, WaitError
from stream.remote.refusals import ServerFullError

log = logging.getLogger(__name__)

BACKOFF = (0.1, 0.25, 0.5, 1.0)
"""Seconds between attempts to come back; the last for all further ones. A restarted server is found within
little more than its start takes."""


class Connected(Protocol):
    """One connection.

    :ivar lost: set once it is over.
    """

    lost: asyncio.Event

    async def close(self) -> None:
        """End it; harmless when lost."""


ConnectedT = TypeVar("ConnectedT", bound=Connected)


class Reconnecting(ABC, Generic[ConnectedT]):
    """Keeps one connection to a server at a time. `open` and `close` belong to one event loop.

    :param what: it does, as a sentence begins: ``Watching``.
    :param patience: seconds without a connection after which it gives up.
    """

    def __init__(self, address: Address, what: str, patience: float = math.inf) -> None:
        self.address = address
        self._what, self._patience = what, patience
        self._signalling: Signalling | None = None
        self._connection: ConnectedT | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._reconnections = 0

    async def open(self) -> None:
        """Connect.

        :raises RemoteError: the server cannot be reached, refuses, or there is no such session; the message
            says what to do.
        """
        self._signalling = Signalling(self.address)
        try:
            self._connection = await self._connect(self._signalling)
        except BaseException:
            await self._signalling.close()
            raise
        self._keeper = asyncio.get_running_loop().create_task(self._keep(self._signalling))

    async def close(self) -> None:
        """Say goodbye and free everything; harmless when not open."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._leave()
        if self._signalling is not None:
            await self._signalling.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None and not self._connection.lost.is_set()

    @abstractmethod
    async def _connect(self, signalling: Signalling) -> ConnectedT:
        """One attempt.

        :raises RemoteError: see `open`.
        """

    @abstractmethod
    def _lost(self, connection: ConnectedT) -> bool:
        """The connection was lost; whether it had come to its end, so that staying lost is no failure."""

    @abstractmethod
    def _left(self, connection: ConnectedT) -> None:
        """The connection, which is still there, goes now: keep its figures."""

    @abstractmethod
    def _finish(self, error: RemoteError | None) -> None:
        """It does not come back, by this failure or by none."""

    async def _keep(self, signalling: Signalling) -> None:
        """Come back whenever the connection is lost."""
        try:
            while self._connection is not None:
                await self._connection.lost.wait()
                ended = self._lost(self._connection)
                await self._leave()
                self._connection = await self._come_back(signalling, ended)
                self._reconnections += self._connection is not None
            self._finish(None)
        except RemoteError as error:
            self._finish(error)
        except Exception as error:  # or whoever waits would wait for ever
            log.exception("%s has ended by a mistake of ours.", self._what)
            self._finish(RemoteError(f"{self._what} has ended by a mistake of ours ({error}); start again."))

    async def _come_back(self, signalling: Signalling, ended: bool) -> ConnectedT | None:
        """Try until there is a connection again; None where patience is over with what had ``ended``.

        :raises RemoteError: why the last attempt failed: patience is over, or the server lets us in no more.
        """
        since = time.monotonic()
        waits = itertools.chain(BACKOFF, itertools.repeat(BACKOFF[-1]))
        while True:
            wait = next(waits)
            try:
                return await self._connect(signalling)
            except AccessError:
                raise
            except RemoteError as error:
                log.debug("Not back yet: %s", error)
                if isinstance(error, ServerFullError | WaitError):
                    wait = max(wait, float(error.retry_after))
                if time.monotonic() - since + wait > self._patience:
                    if ended:
                        return None
                    raise
            await asyncio.sleep(wait)

    async def _leave(self) -> None:
        """Close the connection."""
        connection = self._connection
        if connection is not None:
            self._left(connection)
            self._connection = None
            await connection.close()
