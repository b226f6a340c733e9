"""Offers checked before aiortc reads them, and the SDP fragments of trickle ICE and ICE restarts.

Nothing in an offer is trusted: aiortc's parser asserts, loops over loops and takes what it gets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aioice import Candidate

from stream.errors import ProtocolError

MAX_BYTES = 65_536
"""Longest offer or fragment."""

MAX_SECTIONS = 4
"""A camera, a microphone, data channels, and one to spare."""

LIMITS = {"rtpmap": 128, "fmtp": 128, "rtcp-fb": 512, "extmap": 64, "ssrc": 128, "candidate": 64}
"""Most lines of an attribute in one section: aiortc compares each with each."""

FINGERPRINTS = ("sha-256", "sha-384", "sha-512")

_MEDIA = re.compile(r"m=(audio|video|application) (\d{1,5})(?:/\d+)? ([A-Za-z/]+) (\S.*)")
_UFRAG, _PASSWORD = re.compile(r"[A-Za-z0-9+/]{4,256}"), re.compile(r"[A-Za-z0-9+/]{22,256}")
_SHARED = ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux")
"""What a bundled section may leave to the first one (RFC 9143 section 7.1.3)."""

_H264 = re.compile(r"(\d{1,3}) h264/90000", re.IGNORECASE)
_BASELINE = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
"""The H264 that aiortc knows. Its depayloader and FFmpeg take the others as well."""

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(slots=True)
class _Section:
    """One m-line with what follows."""

    kind: str
    head: str
    lines: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str]:
        return _values(self.lines, name)

    @property
    def mid(self) -> str:
        return next(iter(self.values("mid")), "")

    @property
    def direction(self) -> str:
        return next((line[2:] for line in self.lines if line[2:] in _DIRECTIONS), "sendrecv")


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked offer.

    :ivar sdp: what to give aiortc: the same, with what sections leave out filled in.
    :ivar video: it has a video section.
    :ivar head, mid: the first section's m-line and name, which fragments repeat.
    :ivar bundle: the names of all sections.
    :ivar h264: parameters of the H264 payload types that we must receive, as they were offered; none is "".
    """

    sdp: str
    video: bool
    head: str
    mid: str
    bundle: tuple[str, ...]
    h264: dict[str, str]


def check_offer(text: str, *, receive: bool) -> Offer:
    """Check that an offer is one that we can answer.

    :param receive: we must receive a video track from it.
    :raises ProtocolError: it is not; the message says what is missing.
    """
    session, sections = _split(text)
    if not sections:
        raise ProtocolError("The offer is no SDP with a video section.")
    if len(sections) > MAX_SECTIONS:
        raise ProtocolError(f"The offer has {len(sections)} m-lines; offer at most {MAX_SECTIONS}.")
    kinds = [section.kind for section in sections]
    if max(kinds.count("video"), kinds.count("application")) > 1:
        raise ProtocolError("The offer has several video or data sections; offer one of each.")
    sends = [s.kind == "video" and s.direction in ("sendrecv", "sendonly") for s in sections]
    takes = [s.kind == "video" and s.direction in ("sendrecv", "recvonly") for s in sections]
    if receive and not any(sends):
        raise ProtocolError("The offer sends no video; add a camera's track.")
    if not receive and "video" in kinds and not any(takes):
        raise ProtocolError("The offer takes no video; offer a recvonly video section.")
    if not receive and not {"video", "application"} & set(kinds):
        raise ProtocolError("The offer asks for neither video nor data; offer a recvonly video section.")
    _check_bundle(session, sections)
    _inherit(session, sections)
    h264: dict[str, str] = {}
    for section in sections:
        _check_section(section)
        if receive and section.kind == "video":
            h264 = _any_h264(section)
    return _filled(session, sections, h264)


def _split(text: str) -> tuple[list[str], list[_Section]]:
    """The session's lines, and the sections.

    :raises ProtocolError: too long, not text, or no SDP.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ProtocolError(f"The SDP is longer than {MAX_BYTES} bytes.")
    if not text.isprintable() and any(not line.isprintable() for line in re.split(r"[\r\n\t]+", text)):
        raise ProtocolError("The SDP holds characters that do not belong there.")
    session: list[str] = []
    sections: list[_Section] = []
    for line in re.split(r"\r?\n", text.strip()):
        if line.startswith("m="):
            head = _MEDIA.fullmatch(line)
            if head is None:
                raise ProtocolError("The SDP has an m-line that is neither audio, video nor data.")
            sections.append(_Section(head[1], line))
        else:
            (sections[-1].lines if sections else session).append(line)
    return session, sections


def _values(lines: list[str], name: str) -> list[str]:
    """Values of an attribute; an empty one for a flag."""
    found = []
    for line in lines:
        if line == f"a={name}":
            found.append("")
        elif line.startswith(f"a={name}:"):
            found.append(line[len(name) + 3 :].strip())
    return found


def _check_bundle(session: list[str], sections: list[_Section]) -> None:
    """Several sections must share one transport, which is the first one's."""
    if not session or session[0] != "v=0":
        raise ProtocolError("The offer is no SDP; it must begin with v=0.")
    if len(sections) == 1:
        return
    mids = [section.mid for section in sections]
    groups = [group.split()[1:] for group in _values(session, "group") if group.startswith("BUNDLE ")]
    if "" in mids or len(set(mids)) < len(mids) or len(groups) != 1 or set(groups[0]) != set(mids):
        raise ProtocolError("The offer does not bundle all its m-lines; use the bundle policy max-bundle.")


def _inherit(session: list[str], sections: list[_Section]) -> None:
    """Write into each section what it leaves to the session or, bundled, to the first section."""
    for section in sections:
        for above in (session, sections[0].lines):
            own = {_name(line) for line in section.lines}
            section.lines += [line for line in above if _is_shared(line) and _name(line) not in own]
        if section.kind != "application" and not any(line[2:] in _DIRECTIONS for line in section.lines):
            section.lines.append("a=sendrecv")


def _check_section(section: _Section) -> None:
    if any(len(section.values(name)) > most for name, most in LIMITS.items()):
        raise ProtocolError("The offer has more lines than any browser writes.")
    if len(section.values("mid")) > 1:  # we would take the first, aiortc takes the last
        raise ProtocolError("The offer names an m-line twice (a=mid).")
    ufrag, password = section.values("ice-ufrag"), section.values("ice-pwd")
    if not (len(ufrag) == len(password) == 1 and _UFRAG.fullmatch(ufrag[0])):
        raise ProtocolError("The offer has no ICE credentials (ice-ufrag, ice-pwd).")
    if not _PASSWORD.fullmatch(password[0]):
        raise ProtocolError("The offer's ICE password is none; it has 22 to 256 letters and digits.")
    prints = [value.lower().split() for value in section.values("fingerprint")]
    if not any(len(bits) == 2 and bits[0] in FINGERPRINTS for bits in prints):
        raise ProtocolError(f"The offer has no DTLS fingerprint; give one of {', '.join(FINGERPRINTS)}.")
    if section.values("setup")[:1] not in (["actpass"], ["active"], ["passive"]):
        raise ProtocolError("The offer has no DTLS role; write a=setup:actpass.")
    if section.kind != "application" and not section.values("rtcp-mux"):
        raise ProtocolError("The offer does not multiplex RTCP (a=rtcp-mux).")


def _any_h264(section: _Section) -> dict[str, str]:
    """Have aiortc take H264 of every profile and packetization mode; the parameters that were offered."""
    kinds = {found[1]: "" for value in section.values("rtpmap") if (found := _H264.fullmatch(value))}
    for value in section.values("fmtp"):
        kind, _, parameters = value.partition(" ")
        if kind in kinds:
            kinds[kind] = parameters
    section.lines = [
        line for line in section.lines if not any(line.startswith(f"a=fmtp:{kind} ") for kind in kinds)
    ] + [f"a=fmtp:{kind} {_BASELINE}" for kind in kinds]
    return kinds


def restore_h264(answer: str, offer: Offer) -> str:
    """Our answer with the H264 parameters that were offered, which it must repeat (RFC 6184, 8.2.2)."""

    def restored(line: re.Match[str]) -> str:
        parameters = offer.h264.get(line[1])
        if parameters is None:
            return line[0]
        return f"a=fmtp:{line[1]} {parameters}\r\n" if parameters else ""

    return re.sub(r"a=fmtp:(\d+) [^\r\n]*\r\n", restored, answer)


def _filled(session: list[str], sections: list[_Section], h264: dict[str, str]) -> Offer:
    """The offer as aiortc needs it: every attribute in every section, the bundle in order.

    aiortc stops the transport in use where the bundle's first section is not the first one.
    """
    mids = tuple(section.mid for section in sections)
    lines = [line for line in session if not line.startswith("a=group:") and not _is_shared(line)]
    lines.append(f"a=group:BUNDLE {' '.join(mids)}".rstrip())
    for section in sections:
        lines += [section.head, *section.lines]
    video = any(section.kind == "video" for section in sections)
    return Offer("\r\n".join(lines) + "\r\n", video, sections[0].head, mids[0], mids, h264)


def _name(line: str) -> str:
    return line[2:].split(":", 1)[0] if line.startswith("a=") else ""


def _is_shared(line: str) -> bool:
    return _name(line) in _SHARED


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a trickle or restart fragment says (RFC 8840).

    :ivar ufrag, password: the ICE credentials, "" where it has none.
    """

    ufrag: str
    password: str
    candidates: tuple[Candidate, ...]


def read_fragment(text: str) -> Fragment:
    """Read a body of the type ``application/trickle-ice-sdpfrag``.

    Everything in it belongs to the one transport that all sections share.

    :raises ProtocolError: it is none.
    """
    session, sections = _split(text)
    lines = session + [line for section in sections for line in section.lines]
    found = _values(lines, "candidate")
    if not any(line.startswith("a=") for line in lines) or len(found) > LIMITS["candidate"]:
        raise ProtocolError("The body is no trickle ICE fragment.")
    ufrag = next(iter(_values(lines, "ice-ufrag")), "")
    password = next(iter(_values(lines, "ice-pwd")), "")
    if (ufrag and not _UFRAG.fullmatch(ufrag)) or (password and not _PASSWORD.fullmatch(password)):
        raise ProtocolError("The fragment's ICE credentials are none.")
    try:
        candidates = tuple(Candidate.from_sdp(value) for value in found)
    except ValueError as error:
        raise ProtocolError("The fragment holds a damaged ICE candidate.") from error
    return Fragment(ufrag, password, candidates)


def write_fragment(offer: Offer, ufrag: str, password: str, candidates: list[Candidate]) -> str:
    """A fragment with our credentials and all candidates, for the answer to an ICE restart."""
    lines = ["a=ice-options:trickle"]
    if len(offer.bundle) > 1:
        lines.append(f"a=group:BUNDLE {' '.join(offer.bundle)}")
    lines.append(offer.head)
    if offer.mid:
        lines.append(f"a=mid:{offer.mid}")
    lines += [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}"]
    lines += [f"a=candidate:{candidate.to_sdp()}" for candidate in candidates]
    return "\r\n".join([*lines, "a=end-of-candidates"]) + "\r\n"
