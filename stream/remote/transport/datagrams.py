"""What may be read of a datagram: anybody who finds the port can send one, and not all do aiortc good."""

from __future__ import annotations

MAX_DATAGRAM = 1500
"""Longest that is read; libsrtp's binding raises an error for more that aiortc does not expect, and ends the
connection by it."""

_RECORD_HEADER = 13
_APPLICATION_DATA = 23


def readable(data: bytes) -> bytes:
    """The part of a datagram that aiortc can be given; empty where it is to be dropped.

    aiortc reads one message from DTLS for each datagram. More than one in a datagram would wait in OpenSSL's
    memory, without an end, so all behind the first one is cut off (a handshake's records have no messages).
    """
    if not 0 < len(data) <= MAX_DATAGRAM:
        return b""
    at = 0
    while at + _RECORD_HEADER <= len(data) and 20 <= data[at] < 32:
        end = at + _RECORD_HEADER + int.from_bytes(data[at + 11 : at + 13], "big")
        if data[at] == _APPLICATION_DATA:
            return data[:end]
        at = end
    return data
