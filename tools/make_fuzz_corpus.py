"""Writes the hand-made hostile inputs that the fuzz tests replay (tests/data/corpus).

python tools/make_fuzz_corpus.py

Inputs that were found by fuzzing lie beside them and are left alone.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import zstandard

from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.mesh_codec import HEADER, KEY, RANGE
from stream.types import Intrinsics

CORPUS = Path(__file__).parents[1] / "tests/data/corpus"

SIZE = 12


def main() -> None:
    """Write them all."""
    for target, inputs in (
        ("mesh", mesh()),
        ("expression", expression()),
        ("datagrams", datagrams()),
        ("control", control()),
        ("offers", offers()),
        ("fragments", fragments()),
    ):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / name).write_bytes(data)
        print(f"{target}: {len(inputs)} inputs, {sum(map(len, inputs.values()))} bytes")


def mesh() -> dict[str, bytes]:
    """Headers that cannot be, and Zstandard frames that lie."""
    levels = packed(bytes(2 * SIZE * SIZE))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(2 * SIZE * SIZE))
    # Magic number, a descriptor that says "single segment, 8 bytes of size", the size, and nothing after it.
    gigabytes = struct.pack("<IBQ", 0xFD2FB528, 0xE0, 2**35)
    # The right size, but a window of 2 GB is asked for.
    window = struct.pack("<IBBH", 0xFD2FB528, 0x40, 0xA8, 2 * SIZE * SIZE - 256) + b"\1\0\0"
    skippable = struct.pack("<II", 0x184D2A50, 4) + b"abcd"
    result = {
        "empty": b"",
        "header-only": header(),
        "bomb-of-64-mb": header() + packed(bytes(2**26)),
        "bomb-with-the-largest-side": header(size=512) + packed(bytes(2**24)),
        "declares-32-gb": header() + gigabytes,
        "declares-too-little": header() + packed(bytes(SIZE)),
        "declares-nothing": header() + unsized,
        "asks-for-a-2-gb-window": header() + window,
        "skippable-frame": header() + skippable,
        "skippable-frame-first": header() + skippable + levels,
        "two-frames": header() + levels + levels,
        "trailing-bytes": header() + levels + bytes(1000),
        "cut-off": header() + levels[:-1],
        "delta-of-itself": header(flags=0, reference=3) + levels,
        "delta-of-the-future": header(flags=0, reference=2**32 - 1) + levels,
        "delta-of-another-size": header(flags=0, reference=1, size=16) + packed(bytes(512)),
        "key-with-reference": header(reference=1) + levels,
        "unknown-flags": header(flags=0xFE) + levels,
        "all-residuals-at-their-largest": header() + packed(b"\xff" * (2 * SIZE * SIZE)),
    }
    for name in ("low", "high", "jump", "fx", "cx", "half", "angle"):
        for what, value in (("nan", math.nan), ("infinite", math.inf)):
            floats: dict[str, float] = {name: value}
            result[f"{what}-{name}"] = header(floats) + levels
    return result


def header(
    floats: dict[str, float] | None = None, flags: int = KEY, size: int = SIZE, reference: int = 0
) -> bytes:
    """A mesh message's header, with some of its floats changed."""
    sound = {"low": -RANGE, "high": RANGE, "jump": 0.1, "fx": 600.0, "cx": 320.0, "half": 100.0, "angle": 0.0}
    low, high, jump, fx, cx, half, angle = (sound | (floats or {})).values()
    camera = fx, 600.0, cx, 240.0, 640, 480
    pose = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 600)
    values = (low, high, jump, *camera, 320.0, 240.0, half, angle, *pose)
    return HEADER.pack(11, flags, size, 9, reference, 1_800_000_000_000_000, 1, *values)


def packed(data: bytes) -> bytes:
    """One Zstandard frame with its content size."""
    return zstandard.ZstdCompressor(level=1).compress(data)


def expression() -> dict[str, bytes]:
    """Values that cannot be, and lengths that do not fit."""
    camera = Intrinsics(600.0, 600.0, 320.0, 240.0, 640, 480)
    frame = ExpressionFrame(1, 10**15, 1, camera, np.eye(4, dtype=np.float32), np.zeros(52, np.float32))
    sound = encode_expression(frame)
    return {
        "empty": b"",
        "one-byte-short": sound[:-1],
        "one-byte-long": sound + b"\0",
        "zeros": bytes(len(sound)),
        "ones": b"\xff" * len(sound),
        "nan-rotation": sound[:36] + struct.pack("<3f", *[math.nan] * 3) + sound[48:],
        "endless-rotation": sound[:36] + struct.pack("<3f", 3e38, -3e38, 3e38) + sound[48:],
        "tiny-rotation": sound[:36] + struct.pack("<3f", 1e-45, 0, 0) + sound[48:],
        "rotation-by-pi": sound[:36] + struct.pack("<3f", math.pi, 0, 0) + sound[48:],
        "no-picture": sound[:32] + bytes(4) + sound[36:],
    }


def datagrams() -> dict[str, bytes]:
    """Streams of datagrams, each after its length in two bytes."""

    def one(sequence: int, number: int, count: int, size: int = 1088, lane: int = 0, kind: int = 1) -> bytes:
        data = struct.pack("<BBBxIHH", 1, kind, lane, sequence, number, count) + bytes(size)
        return struct.pack("<H", len(data)) + data

    return {
        "empty": b"",
        "empty-datagram": b"\0\0",
        "other-version": b"\x0d\0\2\1" + bytes(11),
        "overlapping-fragments": one(1, 0, 3) + one(1, 0, 3) + one(1, 1, 2) + one(1, 1, 3) + one(1, 2, 3, 5),
        "last-fragment-first": one(1, 2, 3, 7) + one(1, 1, 3) + one(1, 0, 3),
        "number-beyond-count": one(1, 3, 3) + one(1, 65535, 65535),
        "short-fragment-in-the-middle": one(1, 0, 3, 5) + one(1, 1, 3, 5),
        "last-sequence-then-the-first": one(2**32 - 1, 0, 1, 5)
        + b"".join(one(n, 0, 1, 5) for n in range(1, 12)),
        "jumping-sequences": b"".join(one(n * 400_000_000 + 1, 0, 2) for n in range(10)),
        "every-lane-and-kind-open": b"".join(
            one(n, 0, 512, lane=n % 16, kind=1 + n % 3) for n in range(1, 97)
        ),
        "no-such-lane-or-kind": one(1, 0, 1, lane=16) + one(1, 0, 1, lane=255) + one(1, 0, 1, kind=0),
        "oversized": one(1, 0, 1, 1089) + one(1, 0, 1, 60_000),
    }


def control() -> dict[str, bytes]:
    """JSON that is deep, huge, not UTF-8, or not what it says."""
    return {
        "empty": b"",
        "deep-array": b"[" * 16_000,
        "deep-unknown-key": b'{"type":"key","x":' + b"[" * 8000 + b"]" * 8000 + b"}",
        "deep-unknown-object": b'{"type":"key","x":' + b'{"a":' * 2500 + b"1" + b"}" * 2500 + b"}",
        "huge-number": b'{"type":"ping","time":' + b"9" * 16_000 + b"}",
        "huge-fraction": b'{"type":"ping","time":0.' + b"0" * 16_000 + b"1}",
        "huge-exponent": b'{"type":"ping","time":1e999999999}',
        "huge-count": b'{"type":"pong","time":1,"server":' + b"9" * 4000 + b"}",
        "huge-protocol": b'{"type":"hello","protocol":' + b"9" * 4000 + b',"session":"a","size":128,'
        b'"key_seconds":2.0,"expressions":[]}',
        "not-a-number": b'{"type":"ping","time":NaN}',
        "surrogate-escaped": b'{"type":"ping","time":1,"x":"\\ud800"}',
        "surrogate-bytes": b'{"type":"ping","time":1,"x":"\xed\xa0\x80"}',
        "surrogate-session": b'{"type":"hello","protocol":1,"session":"\\udfff","size":128,"key_seconds":2.0,'
        b'"expressions":[]}',
        "repeated-keys": b'{"type":"ping","time":1,"time":2,"type":"key"}',
        "type-of-lists": b'{"type":["ping"],"time":1}',
        "many-expressions": b'{"type":"hello","protocol":1,"session":"a","size":128,"key_seconds":2.0,'
        b'"expressions":[' + b'"a",' * 3000 + b'"a"]}',
        "byte-order-mark": b'\xef\xbb\xbf{"type":"key"}',
        "utf-16": '{"type":"key"}'.encode("utf-16"),
        "nul-bytes": b'{"type":"key"}' + b"\0" * 100,
        "too-long": b'{"type":"key","x":"' + b"x" * 20_000 + b'"}',
    }


OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    b"m=video 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\na=sendonly\r\na=mid:0\r\na=rtcp-mux\r\n"
    b"a=rtpmap:97 VP8/90000\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    b"a=fingerprint:sha-256 " + b":".join([b"AB"] * 32) + b"\r\na=setup:actpass\r\n"
)


def offers() -> dict[str, bytes]:
    """SDPs that are long, incomplete or make a parser work."""
    return {
        "empty": b"",
        "sound": OFFER,
        "too-long": OFFER + b"a=x\r\n" * 20_000,
        "no-media": OFFER[: OFFER.index(b"m=")],
        "many-sections": OFFER + OFFER[OFFER.index(b"m=") :] * 40,
        "same-mid-twice": OFFER + OFFER[OFFER.index(b"m=") :],
        "two-names-for-a-section": OFFER.replace(b"a=mid:0", b"a=mid:0\r\na=mid:1"),
        "many-formats": OFFER.replace(b"SAVPF 97", b"SAVPF " + b" ".join([b"97"] * 9000)),
        "many-rtpmaps": OFFER + b"a=rtpmap:97 VP8/90000\r\n" * 2000,
        "many-feedbacks": OFFER + b"a=rtcp-fb:* nack\r\n" * 3000,
        "many-candidates": OFFER + b"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 1000,
        "huge-payload-type": OFFER.replace(b"97", b"9" * 4000),
        "huge-clock-rate": OFFER.replace(b"90000", b"9" * 5000),
        "huge-port": OFFER.replace(b"video 9", b"video 99999"),
        "no-clock-rate": OFFER.replace(b"VP8/90000", b"VP8"),
        "no-codec-we-know": OFFER.replace(b"VP8", b"VP0"),
        "short-fingerprint": OFFER.replace(b"AB:" * 31 + b"AB", b"AB"),
        "fingerprint-of-letters": OFFER.replace(b"AB", b"ZZ"),
        "unknown-direction": OFFER.replace(b"sendonly", b"sendnever"),
        "damaged-candidate": OFFER + b"a=candidate:1 1 udp x y z typ\r\n",
        "endless-password": OFFER.replace(b"0123456789012345678901", b"0" * 60_000),
        "bare-carriage-returns": OFFER.replace(b"\r\n", b"\r"),
        "nul-bytes": OFFER.replace(b"a=mid:0", b"a=mid:\0"),
        "not-utf-8": OFFER + b"a=\xff\xfe\r\n",
    }


def fragments() -> dict[str, bytes]:
    """ICE fragments with credentials and candidates that are none."""
    credentials = b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    candidate = b"a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    return {
        "empty": b"",
        "many-candidates": credentials + candidate * 65,
        "huge-priority": credentials + candidate.replace(b"udp 1 ", b"udp " + b"9" * 5000 + b" "),
        "huge-port": credentials + candidate.replace(b" 9 ", b" 99999999 "),
        "no-type": credentials + candidate.replace(b" typ host", b""),
        "odd-number-of-words": credentials + candidate.replace(b"typ host", b"typ host generation"),
        "short-password": credentials.replace(b"0123456789", b""),
        "name-as-address": credentials + candidate.replace(b"192.0.2.1", b"a" * 300 + b".local"),
    }


if __name__ == "__main__":
    main()
