"""From datagrams to surfaces: put together on the event loop, decoded on a thread, newest first."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from stream.errors import ProtocolError
from stream.protocol.fragments import Message
from stream.protocol.mesh_codec import KEY, MeshDecoder
from stream.remote.client.watching.frame import RemoteFrame

log = logging.getLogger(__name__)

WAITING = 8
"""Messages of a lane that wait for the decoder; it keeps up unless the machine is overwhelmed."""

KEY_SECONDS = 0.5
"""A key frame is asked for at most this often: it takes about that long to come over a bad line."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    message: Message
    when: float

    @property
    def key(self) -> bool:
        """Whether it declares itself a key frame, which later ones may refer to."""
        return len(self.message.body) > 1 and bool(self.message.body[1] & KEY)


class MeshReceiver:
    """Decodes the mesh messages of one connection; of those that wait, only keys and the newest of each lane.

    :param executor: of one thread, where decoding happens.
    :param deliver: called on the event loop with every surface, sequences rising within a lane.
    :param ask_key: called on the event loop when a key frame is needed, at most every `KEY_SECONDS`.
    :ivar skipped: messages that newer ones overtook before they were decoded.
    :ivar damaged: messages that are not of the protocol.
    :ivar lacking: delta frames whose key frame is not known.
    """

    def __init__(
        self, executor: Executor, deliver: Callable[[RemoteFrame], None], ask_key: Callable[[], None]
    ) -> None:
        self._executor, self._deliver, self._ask_key = executor, deliver, ask_key
        self._waiting: dict[int, deque[_Arrived]] = {}
        self._decoders: dict[int, MeshDecoder] = {}
        self._task: asyncio.Task[None] | None = None
        self._asked = float("-inf")
        self.skipped = self.damaged = self.lacking = 0

    def accept(self, message: Message) -> None:
        """Take a whole message; on the event loop."""
        waiting = self._waiting.setdefault(message.lane, deque())
        waiting.append(_Arrived(message, time.monotonic()))
        if len(waiting) > WAITING:
            waiting.popleft()
            self.skipped += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._pump())

    async def close(self) -> None:
        """Let a decoding come to its end and forget the rest."""
        self._waiting.clear()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            for surface in await loop.run_in_executor(self._executor, self._decode, batch):
                self._deliver(surface)
            now = time.monotonic()
            if now - self._asked >= KEY_SECONDS and any(one.needs_key for one in self._decoders.values()):
                self._asked = now
                self._ask_key()

    def _take(self) -> list[_Arrived]:
        """What is worth decoding of all that waits, in the order of sequences."""
        batch = []
        for waiting in self._waiting.values():
            arrived = sorted(waiting, key=lambda one: one.message.sequence)
            waiting.clear()
            wanted = [one for one in arrived[:-1] if one.key] + arrived[-1:]
            self.skipped += len(arrived) - len(wanted)
            batch += wanted
        return batch

    def _decode(self, batch: list[_Arrived]) -> list[RemoteFrame]:
        """The newest surface of each lane, on the executor's thread."""
        newest: dict[int, RemoteFrame] = {}
        for one in batch:
            message = one.message
            decoder = self._decoders.setdefault(message.lane, MeshDecoder())
            try:
                frame = decoder.decode(message.sequence, message.body)
            except ProtocolError as error:
                self.damaged += 1
                log.debug("A mesh message was left out: %s", error)
                continue
            if frame is not None:
                self.skipped += message.lane in newest
                newest[message.lane] = RemoteFrame(frame, message.lane, message.sequence, one.when)
            elif decoder.needs_key and not one.key:
                self.lacking += 1
        return list(newest.values())
