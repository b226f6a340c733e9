"""One connection of a viewer to a session, from hello to its loss, whatever carries it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from stream.errors import ProtocolError, RemoteError
from stream.protocol.expression_codec import ExpressionFrame, decode_expression
from stream.protocol.fragments import VERSION, Kind, Message, Reassembler
from stream.protocol.messages import (
    AnyMessage,
    Hello,
    KeyRequest,
    Pong,
    Report,
    State,
    Subscribe,
    read_message,
    write_message,
)
from stream.protocol.messages import Clock as ClockMessage
from stream.remote.client.clock import ServerClock
from stream.remote.client.silence import Silence
from stream.remote.client.watching.frame import RemoteFrame, ServerLink
from stream.remote.client.watching.meshes import MeshReceiver, ReceivedSurface
from stream.remote.client.watching.pictures import PictureMatcher, ReceivedPicture, decode_texture

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0


class WatchConnection:
    """Everything that lives as long as one connection: decoders, clock, matching, reports.

    :param wants: what the viewer subscribes to.
    :param deliver: called on the event loop with each frame; those of a lane in the order of capture.
    :param whole: datagrams are whole messages (a WebSocket).
    :ivar hello, state: the server's newest, or None.
    :ivar lost: set once the connection is over.
    :ivar expressions: the newest of each lane.
    :ivar messages, pictures, shown, damaged: put together, received, delivered, left out.
    :ivar mesh_bytes: of all mesh messages' bodies.
    :ivar received_bytes, kbps: all that came, and how much a second lately, in kilobits.
    """

    def __init__(self, wants: Subscribe, deliver: Callable[[RemoteFrame], None], whole: bool = False) -> None:
        self._wants, self._deliver = wants, deliver
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prosopon-decode")
        self._meshes = MeshReceiver(self._executor, self._decoded, self._ask_key)
        self._matcher = PictureMatcher()
        self._reassembler = Reassembler(whole)
        self._link: ServerLink | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._expression_sequences: dict[int, int] = {}
        self._latencies: list[float] = []
        self._texture: asyncio.Task[None] | None = None
        self._silence = Silence()
        self._measured = time.monotonic()
        self.clock = ServerClock()
        self.hello: Hello | None = None
        self.state: State | None = None
        self.rtp_offset: int | None = None
        self.greeted, self.lost = asyncio.Event(), asyncio.Event()
        self.expressions: dict[int, ExpressionFrame] = {}
        self.mesh_bytes = 0
        self.messages = self.shown = self.damaged = self.pictures = self.received_bytes = 0
        self.kbps = 0.0

    # What the link calls, all on the event loop

    def control(self, text: str | bytes) -> None:
        """A control message came."""
        self._silence.heard()
        try:
            message = read_message(text)
        except ProtocolError as error:
            log.debug("A control message was passed over: %s", error)
            return
        self._control(message)

    def datagram(self, data: bytes) -> None:
        """A datagram came."""
        self._silence.heard()
        try:
            message = self._reassembler.accept(data)
            if message is not None:
                self.messages += 1
                self._message(message)
        except ProtocolError as error:
            self.damaged += 1
            log.debug("A datagram was left out: %s", error)

    def picture(self, picture: ReceivedPicture) -> None:
        """A picture of the video track came."""
        self._silence.heard()
        self.pictures += 1
        self._matcher.picture(picture)
        self._give()

    def gone(self) -> None:
        """The link is over."""
        self.lost.set()

    # Life

    def start(self, link: ServerLink) -> None:
        """Begin to talk over an open link."""
        self._link = link
        self._say(self._wants)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._ping()), loop.create_task(self._report())]

    async def greet(self, seconds: float) -> Hello:
        """Wait for the server's hello.

        :raises RemoteError: it does not come, the connection is lost, or it speaks another version.
        """
        waiting = [asyncio.ensure_future(event.wait()) for event in (self.greeted, self.lost)]
        _, left = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        if self.hello is None:
            raise RemoteError("The server took the connection but did not greet; is it overloaded?")
        if self.hello.protocol != VERSION:
            raise RemoteError(
                f"The server speaks version {self.hello.protocol} of the mesh protocol and this program "
                f"{VERSION}; install the same Prosopon on both sides."
            )
        return self.hello

    async def close(self) -> None:
        """End it; harmless when lost."""
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks, *([self._texture] if self._texture else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._link is not None:
            with contextlib.suppress(Exception):  # it is over in any case
                await self._link.close()
        await self._meshes.close()
        self._executor.shutdown(wait=False)

    @property
    def transport(self) -> str | None:
        """What carries it."""
        return None if self._link is None else self._link.transport

    async def traffic(self) -> tuple[int, int]:
        """Bytes so far: of mesh messages, and of everything that came."""
        return self.mesh_bytes, 0 if self._link is None else await self._link.received()

    @property
    def lost_messages(self) -> int:
        """Messages that came incompletely, damaged, or without the key frame they need."""
        return self._reassembler.given_up + self.damaged + self._meshes.damaged + self._meshes.lacking

    @property
    def skipped(self) -> int:
        """Meshes that newer ones overtook here."""
        return self._meshes.skipped + self._matcher.skipped

    # Inside

    def _control(self, message: AnyMessage) -> None:
        if isinstance(message, Pong):
            self.clock.pong(message)
        elif isinstance(message, State):
            self.state = message
        elif isinstance(message, ClockMessage):
            self.rtp_offset = message.rtp
        elif isinstance(message, Hello):
            self.hello = message
            self.greeted.set()

    def _message(self, message: Message) -> None:
        if message.kind is Kind.MESH:
            self.mesh_bytes += len(message.body)
            self._meshes.accept(message)
        elif message.kind is Kind.EXPRESSION:
            if message.sequence > self._expression_sequences.get(message.lane, 0):
                self.expressions[message.lane] = decode_expression(message.body)
                self._expression_sequences[message.lane] = message.sequence
        elif self._texture is None or self._texture.done():  # one at a time: a newer one follows soon
            self._texture = asyncio.get_running_loop().create_task(self._show_texture(message.body))

    async def _show_texture(self, body: bytes) -> None:
        try:
            picture = await asyncio.get_running_loop().run_in_executor(self._executor, decode_texture, body)
        except ProtocolError as error:
            self.damaged += 1
            log.debug("A texture was left out: %s", error)
        else:
            self.picture(picture)

    def _decoded(self, surface: ReceivedSurface) -> None:
        self._matcher.mesh(surface)
        self._give()

    def _give(self) -> None:
        """Hand on what has found its picture, and come back when the next has waited long enough."""
        if self.lost.is_set():  # a newer connection's frames may have been given meanwhile
            return
        for matched in self._matcher.ready():
            surface = matched.surface
            captured = self.clock.local(surface.frame.captured)
            self.shown += 1
            if captured is not None:
                self._latencies.append(time.monotonic() - captured)
            self._deliver(
                RemoteFrame(
                    surface.frame,
                    matched.image,
                    matched.exact,
                    surface.lane,
                    surface.sequence,
                    captured,
                    surface.arrived,
                )
            )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._matcher.due) is not None:
            wait = max(0.001, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._give)

    def _say(self, message: AnyMessage) -> None:
        if self._link is not None and not self.lost.is_set():
            self._link.send(write_message(message))

    def _ask_key(self) -> None:
        self._say(KeyRequest())

    async def _ping(self) -> None:
        """Keep asking the time, and notice when nobody answers any more."""
        while not self.lost.is_set():
            self._say(self.clock.ping())
            await asyncio.sleep(self.clock.pause)
            if self._silence.waited(self.clock.pause):
                self.lost.set()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self._measure()
            latencies, self._latencies = self._latencies, []
            self._say(
                Report(
                    received=self.messages,
                    lost=self.lost_messages,
                    shown=self.shown,
                    latency_ms=median(latencies) * 1e3 if latencies else None,
                )
            )

    async def _measure(self) -> None:
        if self._link is not None:
            now, received = time.monotonic(), await self._link.received()
            self.kbps = (received - self.received_bytes) * 8e-3 / (now - self._measured)
            self.received_bytes, self._measured = received, now
