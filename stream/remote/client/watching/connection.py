"""One connection of a viewer to a session, from hello to its loss, whatever carries it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median

from stream.errors import ProtocolError, RemoteError
from stream.protocol.expression_codec import ExpressionFrame, decode_expression
from stream.protocol.fragments import VERSION, Kind, Message, Reassembler
from stream.protocol.messages import AnyMessage, Clock, Hello, KeyRequest, Report, State, Subscribe
from stream.remote.client.conversation import Conversation, ServerLink
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.meshes import MeshReceiver
from stream.remote.client.watching.pictures import PictureMatcher, ReceivedPicture, decode_texture
from stream.remote.client.watching.video import VideoReader
from stream.remote.transport.incoming import IncomingVideo
from stream.types import Array

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0


class WatchConnection(Conversation):
    """Everything that lives as long as one connection: decoders, clock, matching, reports.

    :param link: not open yet, or not read yet.
    :param wants: what the viewer subscribes to.
    :param deliver: called on the event loop with each frame; those of a lane in the order of capture.
    :param whole: datagrams are whole messages (a WebSocket).
    :ivar hello, state: the server's newest, or None.
    :ivar expressions: the newest of each lane.
    :ivar messages, pictures, shown, damaged: put together, received, delivered, left out.
    :ivar mesh_bytes: of all mesh messages' bodies.
    :ivar received_bytes, kbps: all that came, and how much a second lately, in kilobits.
    """

    def __init__(
        self,
        link: ServerLink,
        wants: Subscribe,
        deliver: Callable[[RemoteFrame], None],
        whole: bool = False,
    ) -> None:
        super().__init__(link)
        link.on_datagram = self._datagram
        self._wants, self._deliver = wants, deliver
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prosopon-decode")
        self._meshes = MeshReceiver(self._executor, self._decoded, self._ask_key)
        self._matcher = PictureMatcher()
        self._reassembler = Reassembler(whole)
        self._reporting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expression_sequences: dict[int, int] = {}
        self._latencies: list[float] = []
        self._texture: asyncio.Task[None] | None = None
        self._video: VideoReader | None = None
        self._measured = time.monotonic()
        self._rtp_offset: int | None = None
        self._greeted = asyncio.Event()
        self.hello: Hello | None = None
        self.state: State | None = None
        self.expressions: dict[int, ExpressionFrame] = {}
        self.mesh_bytes = 0
        self.messages = self.shown = self.damaged = self.pictures = self.received_bytes = 0
        self.kbps = 0.0

    def watch(self, video: IncomingVideo) -> None:
        """Show the pictures of this track."""
        self._video = VideoReader(video, self._track_picture)

    def start(self) -> None:
        """Begin to talk: the link is open."""
        self._say(self._wants)
        super().start()
        self._reporting = asyncio.get_running_loop().create_task(self._report())

    async def greet(self, seconds: float) -> Hello:
        """Wait for the server's hello.

        :raises RemoteError: it does not come, the connection is lost, or it speaks another version.
        """
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._greeted, self.lost)]
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
        tasks = [task for task in (self._reporting, self._texture) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._video is not None:
            await self._video.close()
        await super().close()
        await self._meshes.close()
        self._executor.shutdown(wait=False)

    @property
    def transport(self) -> str:
        """What carries it."""
        return self._link.transport

    async def traffic(self) -> tuple[int, int]:
        """Bytes so far: of mesh messages, and of everything that came."""
        return self.mesh_bytes, await self._link.received()

    @property
    def lost_messages(self) -> int:
        """Messages that came incompletely, damaged, or without the key frame they need."""
        return self._reassembler.given_up + self.damaged + self._meshes.damaged + self._meshes.lacking

    @property
    def skipped(self) -> int:
        """Meshes that newer ones overtook here."""
        return self._meshes.skipped + self._matcher.skipped

    # What comes, on the event loop

    def _told(self, message: AnyMessage) -> None:
        if isinstance(message, State):
            self.state = message
        elif isinstance(message, Clock):
            self._rtp_offset = message.rtp
        elif isinstance(message, Hello):
            self.hello = message
            self._greeted.set()

    def _datagram(self, data: str | bytes) -> None:
        if isinstance(data, str):  # no server sends texts there
            return
        self._silence.heard()
        try:
            message = self._reassembler.accept(data)
            if message is not None:
                self.messages += 1
                self._message(message)
        except ProtocolError as error:
            self.damaged += 1
            log.debug("A datagram was left out: %s", error)

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
            self._picture(picture)

    def _track_picture(self, image: Array, rtp: int) -> None:
        media = None if self._rtp_offset is None else (rtp - self._rtp_offset) & 0xFFFFFFFF
        self._picture(ReceivedPicture(media, image))

    def _picture(self, picture: ReceivedPicture) -> None:
        self._silence.heard()
        self.pictures += 1
        self._matcher.picture(picture)
        self._give()

    def _decoded(self, frame: RemoteFrame) -> None:
        self._matcher.mesh(frame)
        self._give()

    def _give(self) -> None:
        """Hand on what has found its picture, and come back when the next has waited long enough."""
        if self.lost.is_set():  # a newer connection's frames may have been given meanwhile
            return
        for frame in self._matcher.ready():
            captured = self.clock.local(frame.surface.captured)
            self.shown += 1
            if captured is not None:
                self._latencies.append(time.monotonic() - captured)
            self._deliver(replace(frame, captured=captured))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._matcher.due) is not None:
            wait = max(0.001, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait, self._give)

    def _ask_key(self) -> None:
        self._say(KeyRequest())

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
        now, received = time.monotonic(), await self._link.received()
        self.kbps = (received - self.received_bytes) * 8e-3 / (now - self._measured)
        self.received_bytes, self._measured = received, now
