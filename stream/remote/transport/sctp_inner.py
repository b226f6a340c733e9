"""The private parts of aiortc's SCTP that we use: bounds on what a hostile peer can make it keep and do.

Each chunk costs aiortc time in proportion to what it keeps, and all peers share one event loop, so little is
kept. `tests/remote/test_sctp_inner.py` fails when one of these parts changes.
"""

from __future__ import annotations

import logging
from typing import Any

from aiortc.rtcsctptransport import RTCSctpTransport, tsn_plus_one
from aiortc.utils import uint32_gte

log = logging.getLogger(__name__)

MAX_MISORDERED = 256
"""Chunks received beyond a gap, 280 kB of full ones; the gaps must fit into one acknowledgement."""

MAX_DUPLICATES = 32
"""Duplicates that an acknowledgement tells."""

MAX_UNFINISHED = 128
"""Chunks of a stream that wait for the rest of their message; our longest has 15."""

MAX_STREAMS = 64
"""Streams that a peer may use; browsers count them up from 0."""

MAX_CONTROL = 8
"""Chunks in a datagram that are no data: several of them are answered with a datagram each."""

MAX_CHANNELS = 8
"""Data channels that one peer may open."""

LEAST_WINDOW = 32_768
"""Bytes of SCTP data that may always be under way. Its congestion control takes datagrams that overtook each
other for lost, and its window then holds less than one mesh: at 10 to 50 ms of jitter 22 instead of 30 meshes
a second came, 180 instead of 48 ms old, and at 25 % loss 1.4 instead of 4.7. What is sent is kept to what a
viewer can take by its reports (`stream.remote.server.sessions.adapt`)."""

_HEADER, _CHUNK_HEADER, _DATA = 12, 4, 0


class BoundSctp(RTCSctpTransport):
    """A transport that lets go of who sends more than an honest peer, and does little for it before.

    Its congestion window never falls below `LEAST_WINDOW`.
    """

    _cwnd: int
    _last_received_tsn: int

    async def _transmit(self) -> None:
        self._cwnd = max(self._cwnd, LEAST_WINDOW)
        await super()._transmit()

    async def _handle_data(self, data: bytes) -> None:
        if _control_chunks(data) <= MAX_CONTROL:
            await super()._handle_data(data)

    async def _receive_data_chunk(self, chunk: Any) -> None:
        stream = self._inbound_streams.get(chunk.stream_id)
        if (
            self._advertised_rwnd < 0
            or len(self._sack_misordered) > MAX_MISORDERED
            or (stream is None and len(self._inbound_streams) >= MAX_STREAMS)
            or (stream is not None and len(stream.reassembly) > MAX_UNFINISHED)
        ):
            log.info("A peer sent more than its window; its connection is ended.")
            raise ConnectionError("SCTP receive window exceeded")
        await super()._receive_data_chunk(chunk)

    async def _receive_sack_chunk(self, chunk: Any) -> None:
        """Count an acknowledgement's gaps only as far as we sent: aiortc walks through each of them."""
        sent = self._sent_queue
        reach = (sent[-1].tsn - chunk.cumulative_tsn) % 2**32 if sent else 0
        gaps, last = [], 0
        for begin, end in chunk.gaps:
            if last < begin <= end <= reach < 2**31:  # in order and apart, as they have to be
                gaps.append((begin, end))
                last = end
        chunk.gaps = gaps
        await super()._receive_sack_chunk(chunk)

    async def _data_channel_receive(self, stream: int, kind: int, data: bytes) -> None:
        if stream in self._data_channels or len(self._data_channels) < MAX_CHANNELS:
            await super()._data_channel_receive(stream, kind, data)

    def _mark_received(self, tsn: int) -> bool:
        """As aiortc's, whether a chunk came before; but in constant time, where aiortc sorts all it keeps."""
        ahead = self._sack_misordered
        if uint32_gte(self._last_received_tsn, tsn) or tsn in ahead:
            if len(self._sack_duplicates) < MAX_DUPLICATES:
                self._sack_duplicates.append(tsn)
            return True
        ahead.add(tsn)
        while (following := tsn_plus_one(self._last_received_tsn)) in ahead:
            ahead.remove(following)
            self._last_received_tsn = following
        return False


def _control_chunks(data: bytes) -> int:
    """How many chunks of a datagram are no data (RFC 9260 section 3)."""
    at, count = _HEADER, 0
    while at + _CHUNK_HEADER <= len(data):
        count += data[at] != _DATA
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        at += max(_CHUNK_HEADER, length + -length % 4)
    return count
