"""One session: its publisher, the pipeline behind it, and those who watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from stream.errors import ProsoponError
from stream.expression.arkit import ARKIT_NAMES
from stream.pipeline.metrics import Metrics
from stream.protocol.fragments import VERSION
from stream.protocol.messages import CONTROL, AnyMessage, Clock, Hello, KeyRequest, State, write_message
from stream.remote.server.sessions.audience import Audience
from stream.remote.server.sessions.broadcast import Broadcast
from stream.remote.server.sessions.control import ControlInbox
from stream.remote.server.sessions.models import SharedModels
from stream.remote.server.sessions.relayed import RELAY, RELAY_POLICY, RelayedSource
from stream.remote.server.sessions.sinks import ENCODE, TEXTURE, BroadcastSink, TextureSink
from stream.remote.server.sessions.webrtc import WebRtcSource
from stream.remote.settings import ServeSettings
from stream.remote.transport.peer import Peer
from stream.remote.transport.video import SharedVideo
from stream.session import Session

if TYPE_CHECKING:
    from stream.pipeline.source import Source
    from stream.pipeline.stage import Sink

log = logging.getLogger(__name__)

GRACE = 0.5
"""Seconds for a publisher that has data channels to open the mesh channel, before its video is taken for a
camera's. One that comes later is heeded, too."""

LIVE_SECONDS = 1.0
"""How long after its last picture a session is live."""

LOST_SECONDS = 3.0
"""How long after its last picture, or its begin, a publisher who comes anew may replace it: one that crashed
looks connected until its peer times out."""

VIDEO = "video"
"""The metrics' name of the video that goes to viewers."""

LOOK_SECONDS = 0.25
"""How often a session looks after itself."""


class RemoteSession:
    """A publisher's session, from its offer to its end. Everything on the event loop.

    :param models: loaded; they configure what runs.
    :param on_end: called once, when all is over.
    :ivar name: unique in the server.
    :ivar key: known to the publisher only (RFC 9725 section 5).
    :ivar peer: the publisher.
    :ivar metrics: what its pipeline and its viewers count.
    :ivar audience: its viewers.
    :ivar running: what works on the publisher's pictures or meshes now, or None.
    """

    def __init__(
        self,
        name: str,
        peer: Peer,
        settings: ServeSettings,
        models: SharedModels,
        on_end: Callable[[RemoteSession], None],
    ) -> None:
        self.name, self.key, self.peer = name, secrets.token_hex(16), peer
        self.metrics = Metrics()
        self._settings, self._models, self._on_end = settings, models, on_end
        self._log = logging.LoggerAdapter(log, {"session": name})
        self._broadcast = Broadcast(settings.send)
        self._video = SharedVideo(settings.send.video_side, settings.send.video_kbps)
        self._hello = Hello(
            protocol=VERSION,
            session=name,
            size=settings.send.size,
            key_seconds=settings.send.key_seconds,
            expressions=list(ARKIT_NAMES),
        )
        self.audience = Audience(self._hello, self._broadcast, self._video, self.metrics, settings)
        self._inbox = ControlInbox(self._tell, self._broke_rules)
        self._relay: RelayedSource | None = None
        self.running: Session | None = None
        self._over, self._settled = False, asyncio.Event()
        self._began = self._active = time.monotonic()
        self._activity = 0
        self._captures: tuple[float, int] = (self._began, 0)
        self._fps = 0.0
        self._drops: dict[str, int] = {}
        self._sent = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self, offer: str) -> str:
        """Answer the publisher's offer and begin.

        :raises ProtocolError: the offer cannot be answered; the session is over.
        """
        self.peer.on_channel, self.peer.on_text = self._on_channel, self._heard
        self.peer.on_closed = self.end
        try:
            answered = await self.peer.accept(offer, receive=True, send=None)
        except BaseException:
            self._video.close()
            await self.peer.close()
            raise
        self._task = asyncio.create_task(self._run("m=application" in offer))
        return answered

    @property
    def lost(self) -> bool:
        """Whether its publisher is gone or silent, so that another one may take its place."""
        gone = self.over or self.peer.state in ("disconnected", "failed", "closed")
        return gone or time.monotonic() - self._active > LOST_SECONDS

    def listing(self) -> dict[str, Any]:
        """What `SessionHub.listing` says of it."""
        seconds = time.monotonic() - self._began
        told = self._look_state().model_dump(exclude={"type"})
        return {"name": self.name, **told, "fps": round(self._fps, 1), "seconds": round(seconds, 1)}

    def end(self) -> None:
        """Have it end; does not wait."""
        self._over = True
        self._settled.set()
        if self.running is not None:
            self.running.stop()

    @property
    def over(self) -> bool:
        """Whether it is ending or has ended."""
        return self._over

    async def ended(self) -> None:
        """Wait until it has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # What the publisher does

    def _on_channel(self, label: str) -> None:
        if label == CONTROL:
            self._tell(self._hello)
            self._tell(self.audience.state)
            return
        self._relay = RelayedSource(self.peer.video, self.metrics, lambda: self._tell(KeyRequest()))
        self.peer.on_datagram = self._relay.datagram
        self._settled.set()
        if self.running is not None:  # it was taken for a camera
            self.running.stop()

    def _heard(self, text: str | bytes) -> None:
        message = self._inbox.read(text)
        if isinstance(message, Clock):
            self.peer.video.clock.offset = message.rtp

    def _tell(self, message: AnyMessage) -> None:
        self.peer.tell(write_message(message))

    def _broke_rules(self) -> None:
        self._log.warning("The publisher sends too many control messages; its session ends.")
        self.end()

    # Its life

    async def _run(self, may_relay: bool) -> None:
        looking = asyncio.create_task(self._look_after())
        try:
            await self._feed(may_relay)
        except ProsoponError as error:
            self._log.warning("The session ends: %s", error)
        except Exception:
            self._log.exception("The session ends by a mistake of ours.")
        finally:
            looking.cancel()
            await self._finish()

    async def _feed(self, may_relay: bool) -> None:
        """Work on what the publisher sends, as long as it does."""
        if may_relay:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), GRACE)
        if self._relay is None:
            await self._play(WebRtcSource(self.peer.video), "The session is a camera's.")
        if self._relay is not None:
            self.peer.video.resume()  # where it was taken for a camera's before
            await self._play(self._relay, "The session's publisher sends meshes.")

    async def _play(self, source: Source, what: str) -> None:
        """Work on what comes from a source, until it ends."""
        if self._over:
            return
        self._log.info(what)
        sinks: list[Sink] = [BroadcastSink(self._broadcast), TextureSink(self._broadcast, self._video)]
        # On another thread, for it looks at what is installed here.
        relays = source is self._relay
        session = await asyncio.to_thread(
            self._models.session, source, sinks, self.metrics, policy=RELAY_POLICY if relays else None
        )
        if self._over or (self._relay is not None and not relays):
            return
        self.running = session
        try:
            await session.pipeline.run()
        finally:
            self.running = None

    async def _finish(self) -> None:
        """Tell all that it is over, and let go of them."""
        self._over = True
        over = State(state="ended", faces=0, viewers=len(self.audience))
        self._tell(over)
        self.audience.tell(over)
        await asyncio.gather(self.audience.close(), self.peer.close())
        self._video.close()
        self._log.info("The session is over.")
        self._on_end(self)

    # Looking after it

    async def _look_after(self) -> None:
        while True:
            self._count()
            self._share_state()
            if time.monotonic() - self._active > self._settings.idle_seconds:
                self._log.info("No picture came for %g s; the session ends.", self._settings.idle_seconds)
                self.end()
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _count(self) -> None:
        """Notice whether something came, and how fast captures go out."""
        now, totals = time.monotonic(), self.metrics.totals()[0]
        activity = sum(totals[name].count for name in ("source", "relay") if name in totals)
        if activity != self._activity:
            self._activity, self._active = activity, now
        since, before = self._captures
        if now - since >= 1.0:
            self._fps = (self._broadcast.captures - before) / (now - since)
            self._captures = now, self._broadcast.captures
        self._count_drops(TEXTURE, self._video.dropped)
        self._count_drops(VIDEO, self._video.unsent)
        for _ in range(self._video.sent - self._sent):
            self.metrics.done(VIDEO, None)
        self._sent = self._video.sent
        if self._relay is not None:
            self._count_drops(RELAY, self._relay.incomplete)
        self._count_drops(ENCODE, self._broadcast.dropped)

    def _count_drops(self, stage: str, ever: int) -> None:
        """Add what was dropped outside of the pipeline's slots to its figures."""
        self.metrics.drop(stage, ever - self._drops.get(stage, 0))
        self._drops[stage] = ever

    @property
    def _silent(self) -> bool:
        return not self._activity or time.monotonic() - self._active > LIVE_SECONDS

    def _look_state(self) -> State:
        state: Literal["live", "waiting"] = "waiting" if self._silent else "live"
        return State(
            state=state, faces=0 if self._silent else self._broadcast.faces, viewers=len(self.audience)
        )

    def _share_state(self) -> None:
        state = self._look_state()
        if state != self.audience.state:
            self._tell(state)
            self.audience.tell(state)
