"""One viewer of a session: what it wants, what it can take, and the tasks that send it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from stream.errors import RemoteError
from stream.pipeline.demand import EVERY
from stream.pipeline.metrics import Metrics
from stream.protocol.clock import monotonic_of
from stream.protocol.fragments import Kind
from stream.protocol.messages import AnyMessage, KeyRequest, Report, Subscribe, write_message
from stream.remote.server.sessions.adapt import Adaptation
from stream.remote.server.sessions.control import ControlInbox
from stream.remote.server.sessions.mailbox import Mailbox, Packet, Tier
from stream.remote.transport.link import Link

log = logging.getLogger(__name__)

SEND = "send"
"""The metrics' name of what goes to viewers."""

STALL_SECONDS = 10.0
"""How long a viewer may take nothing at all before it is let go."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a viewer is to be sent; read by the threads that encode.

    :ivar mesh: the tier of its meshes, or None where it wants none.
    :ivar rate: how many meshes a second it can take.
    """

    mesh: Tier | None = None
    expression: bool = False
    texture: bool = False
    rate: float = EVERY

    def includes(self, packet: Packet) -> bool:
        """Whether the packet is for this viewer."""
        kind = packet.message.kind
        if kind is Kind.MESH:
            return packet.tier is self.mesh
        return self.expression if kind is Kind.EXPRESSION else self.texture


class Viewer:
    """Sends to one viewer, each time the newest, as fast as its link and its adaptation allow.

    :param name: its id, for messages and logs.
    :param session: the session's name.
    :param metrics: the session's; what is not sent for something newer is a drop of `SEND`.
    :param request_key: asks for key frames of a tier.
    :param textures: pictures may be sent as messages (a WebSocket).
    :ivar fault: why it was let go, where it broke the rules.
    :ivar wants: replaced as a whole when it changes.
    """

    def __init__(
        self,
        name: str,
        session: str,
        link: Link,
        metrics: Metrics,
        request_key: Callable[[Tier], None],
        textures: bool = False,
    ) -> None:
        self.name = name
        self.wants = Wants()
        self.fault: str | None = None
        self._link, self._metrics, self._request_key = link, metrics, request_key
        self._textures = textures
        self._subscribed, self._begun = Subscribe(), False
        self._log = logging.LoggerAdapter(log, {"session": session, "viewer": name})
        self._adapt = Adaptation(time.monotonic())
        self._inbox = ControlInbox(self.tell, self._flooded)
        self._mailbox = Mailbox()
        self._packets_wait, self._over = asyncio.Event(), asyncio.Event()

    def begin(self) -> None:
        """There is a way for meshes from now on."""
        self._begun = True
        self._want()

    def tell(self, message: AnyMessage) -> None:
        """Send a control message soon."""
        if not self._link.tell(write_message(message)):
            self.dismiss("The viewer does not take its control messages.")

    def heard(self, text: str | bytes) -> None:
        """Take a control message from the viewer; nothing in it is trusted."""
        message = self._inbox.read(text)
        if isinstance(message, KeyRequest) and self.wants.mesh is not None:
            self._request_key(self.wants.mesh)
        elif isinstance(message, Subscribe):
            self._subscribed = message
            self._want()
        elif isinstance(message, Report):
            self._adapt.report(message)

    def counts(self) -> bool:
        """Count what the viewer sends besides, as its WebSocket's pings; False where it is too much."""
        return self._inbox.count()

    def offer(self, packets: Sequence[Packet], late: bool = False) -> None:
        """New packets of the session; those that this viewer wants wait to be sent.

        :param late: the event loop is behind with its work, of which sending less makes less.
        """
        now = time.monotonic()
        for packet in packets:
            if not self.wants.includes(packet):
                continue
            throttled = self._mailbox.throttled(packet, now)
            if replaced := self._mailbox.put(packet):
                self._metrics.drop(SEND, replaced)
            if (replaced or late) and not throttled and not self._mailbox.lacks_key:
                self._adapt.replaced(max(replaced, 1))
            self._packets_wait.set()
        if self._mailbox.lacks_key:
            self._mailbox.lacks_key = False
            if self.wants.mesh is not None:
                self._request_key(self.wants.mesh)
        if self._adapt.look(now):
            level = self._adapt.level
            self._log.info("Now gets %s meshes, %g s apart.", level.tier.name.lower(), level.interval)
            self._want()

    async def run(self) -> None:
        """Send until the viewer is gone, takes nothing any more, breaks the rules, or `end` is called."""
        tasks = [asyncio.create_task(part) for part in (self._pump(), self._over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.wants = Wants()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for error in results:
                if isinstance(error, RemoteError):
                    self._log.info("Is let go: %s", error)
                elif isinstance(error, Exception):
                    self._log.warning("Sending failed.", exc_info=error)

    def end(self) -> None:
        """Let `run` return."""
        self._over.set()

    def dismiss(self, fault: str) -> None:
        """Let it go, for it broke the rules."""
        if self.fault is None:
            self.fault = fault
            self._log.warning("%s", fault)
            self.end()

    def _flooded(self) -> None:
        self.dismiss("The viewer sends too many control messages.")

    def _want(self) -> None:
        """Work out anew what is sent."""
        if not self._begun:
            return
        told, before = self._subscribed, self.wants
        level = self._adapt.level
        tier = level.tier if told.mesh else None
        rate = 1 / level.interval if level.interval else EVERY
        self.wants = Wants(tier, told.expression, told.texture and self._textures, rate)
        if tier is not before.mesh:
            self._mailbox.clear(Kind.MESH)
            if tier is not None:
                self._request_key(tier)

    async def _pump(self) -> None:
        while True:
            packet = await self._next()
            await _in_time(self._link.send(packet.message))
            self._adapt.sent()
            self._metrics.done(SEND, None)
            if packet.captured:
                self._count_latency(packet.captured)

    async def _next(self) -> Packet:
        """The packet to send now: chosen only once the link can take it, so that none grows old there."""
        while True:
            now = time.monotonic()
            wait = self._mailbox.wait(now)
            if wait == 0.0:
                await _in_time(self._link.ready())
                if packet := self._mailbox.take(time.monotonic(), self._adapt.level.interval):
                    return packet
                continue
            self._packets_wait.clear()
            try:
                await asyncio.wait_for(self._packets_wait.wait(), wait)
            except TimeoutError:
                continue

    def _count_latency(self, captured: int) -> None:
        seconds = time.monotonic() - monotonic_of(captured)
        if 0 <= seconds < 60:  # a publisher's own times may be anything
            self._metrics.latency(SEND, seconds)


async def _in_time(sending: Coroutine[None, None, None]) -> None:
    """Wait for the link, but not for ever.

    :raises RemoteError: it takes nothing any more.
    """
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await sending
    except TimeoutError as error:
        raise RemoteError(f"The viewer took nothing for {STALL_SECONDS:g} s.") from error
