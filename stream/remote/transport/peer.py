"""One WebRTC connection that answered an offer."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque

from aiortc import RTCRtpTransceiver, RTCSessionDescription
from aiortc.rtcicetransport import connection_kwargs

from stream.errors import ProtocolError
from stream.remote.refusals import SupersededError
from stream.remote.settings import IceSettings
from stream.remote.transport.encoders import CODECS
from stream.remote.transport.ice import ice_servers
from stream.remote.transport.ice_link import IceLink
from stream.remote.transport.incoming import IncomingVideo
from stream.remote.transport.rtc_inner import prefer_codec
from stream.remote.transport.rtc_link import RtcLink
from stream.remote.transport.sdp import Fragment, Offer, check_offer, restore_h264, write_fragment
from stream.remote.transport.video import VideoFeed

log = logging.getLogger(__name__)

SILENT_SECONDS = 8.0
"""A connected peer that gave no sign of life for so long is shown as disconnected; consent to send is asked
for every 5 s."""

PAST_SESSIONS = 16
"""ICE sessions that are remembered after a restart, so that what comes late from one restarts nothing."""


class Peer(RtcLink):
    """A connection of the server's: it answers one offer, receives or sends video, and lives until it ends.

    :param ice: STUN and TURN servers.
    :param idle_seconds: a peer that does not connect, or that gives no sign of life, ends after that long.
    :ivar etag: names the ICE session, for WHIP; another one after each restart. Without quotes.
    :raises ConfigError: the ICE settings are no servers' addresses.
    """

    def __init__(self, ice: IceSettings, idle_seconds: float) -> None:
        super().__init__(ice_servers(ice))
        self.etag = secrets.token_hex(8)
        self._ice, self._idle_seconds = ice, idle_seconds
        self._offer: Offer | None = None
        self._watch: asyncio.Task[None] | None = None
        self._restart = asyncio.Lock()
        self._past: deque[str | None] = deque(maxlen=PAST_SESSIONS)

    @property
    def state(self) -> str:
        """new, connecting, connected, disconnected (silent for a while), failed or closed."""
        if self._closing is not None:
            return "failed" if self._failed else "closed"
        state = str(self._rtc.connectionState)
        if state == "connected" and self._silent() > SILENT_SECONDS:
            return "disconnected"
        return state

    async def accept(self, offer: str, *, receive: bool, send: VideoFeed | None) -> str:
        """Answer an offer; once.

        Audio is answered as inactive. Our ICE candidates are all in the answer.

        :param receive: take the peer's video, which is `video` then; else none is taken.
        :param send: what to send where the peer asks for video.
        :returns: the answer, SDP.
        :raises ProtocolError: the offer is none that can be answered; the peer is closed then.
        """
        try:
            self._offer = check_offer(offer, receive=receive)
            answer = await self._negotiate(self._offer, receive, send)
        except BaseException:
            await self.close()
            raise
        self._watch = asyncio.ensure_future(self._watch_idle())
        return answer

    def restarts(self, fragment: Fragment) -> bool:
        """Whether a fragment restarts ICE: it has other credentials than the peer's (RFC 9725 section 4.3.3).

        :raises ProtocolError: the connection is over.
        :raises SupersededError: it is of an ICE session before the newest.
        """
        link = self._link()
        if fragment.ufrag in self._past:
            raise SupersededError("ICE was restarted meanwhile; this is of the session before.")
        return fragment.ufrag not in ("", link.remote_username)

    async def trickle(self, fragment: Fragment) -> None:
        """Take the peer's further ICE candidates.

        :raises ProtocolError: the connection is over.
        """
        link = self._link()
        for candidate in fragment.candidates:
            await link.add_remote_candidate(candidate)

    async def restart(self, fragment: Fragment) -> str:
        """Restart ICE: the peer has new credentials, and perhaps another network; media and data go on.

        :returns: our fragment, with new credentials and all candidates. `etag` has changed.
        :raises ProtocolError: the fragment lacks credentials, or the connection is over.
        """
        if not (fragment.ufrag and fragment.password):
            raise ProtocolError("A fragment that restarts ICE needs new credentials (ice-ufrag, ice-pwd).")
        link, offer = self._link(), self._offer
        assert offer is not None
        async with self._restart:
            self._past.append(link.remote_username)
            try:
                await link.renew(**connection_kwargs(ice_servers(self._ice)))
            except ConnectionError as error:
                raise ProtocolError("The connection is over; make a new one.") from error
            link.reconnect(fragment.ufrag, fragment.password)
            for candidate in fragment.candidates:
                await link.add_remote_candidate(candidate)
            self.etag = secrets.token_hex(8)
            return write_fragment(offer, link.local_username, link.local_password, link.local_candidates)

    async def _negotiate(self, offer: Offer, receive: bool, send: VideoFeed | None) -> str:
        try:
            await self._rtc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
            for transceiver in self._rtc.getTransceivers():
                self._direct(transceiver, receive, send)
            await self._rtc.setLocalDescription(await self._rtc.createAnswer())
        except Exception as error:  # aiortc raises whatever it stumbles over in what it parsed
            log.debug("aiortc refuses an offer: %r", error)
            raise ProtocolError("The offer is damaged, or has no codec in common (VP8, H264).") from error
        await asyncio.sleep(0)  # aiortc's own task begins to connect: a restart may come from now on
        if self._feed is not None:
            self._feed.bind(self._transceiver())
        answer = restore_h264(str(self._rtc.localDescription.sdp), offer)
        return answer.replace("a=ice-pwd:", "a=ice-options:trickle\r\na=ice-pwd:")

    def _direct(self, transceiver: RTCRtpTransceiver, receive: bool, send: VideoFeed | None) -> None:
        """Settle what goes which way; what is inactive, aiortc discards on arrival."""
        transceiver.direction = "inactive"
        if transceiver.kind != "video":
            return
        if receive:
            transceiver.direction = "recvonly"
            self._incoming = IncomingVideo(transceiver.receiver)
        elif send is not None:
            transceiver.direction = "sendonly"
            transceiver.sender.replaceTrack(send)
            for codec in reversed(CODECS):
                prefer_codec(transceiver, codec)
            self._feed = send

    def _link(self) -> IceLink:
        """The one ICE connection.

        :raises ProtocolError: the peer is closed, or answered nothing yet.
        """
        if self._closing is not None or self._offer is None or not self._rtc.links:
            raise ProtocolError("The connection is over; make a new one.")
        return self._rtc.links[0]

    def _silent(self) -> float:
        return time.monotonic() - self._rtc.links[0].heard

    async def _watch_idle(self) -> None:
        """End a peer that does not connect or falls silent."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(min(1.0, self._idle_seconds / 4))
            connected = self._rtc.connectionState == "connected"
            silent = self._silent() if connected else time.monotonic() - begun
            # One that is alive may say nothing between two requests for consent.
            if silent > (max(self._idle_seconds, SILENT_SECONDS) if connected else self._idle_seconds):
                log.info("A peer %s; it is closed.", "fell silent" if connected else "did not connect")
                self.end(failed=True)
                return

    async def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super()._close()
