"""Offers of real clients pass, others are refused with a sentence, and nothing else is ever raised."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ProtocolError
from stream.remote.transport.sdp import MAX_BYTES, check_offer, read_fragment, write_fragment

PRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
ICE = ["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22]
VIDEO = [
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    *ICE,
    PRINT,
    "a=setup:actpass",
    "a=sendonly",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
]
HEAD = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
BUNDLED = [*HEAD, "a=group:BUNDLE 0 1"]
DATA = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:1", "a=sctp-port:5000"]


def text(*lines: str) -> str:
    return "\r\n".join(lines) + "\r\n"


OFFER = text(*HEAD, *VIDEO)


def without(begin: str) -> str:
    return text(*(line for line in (*HEAD, *VIDEO) if not line.startswith(begin)))


def test_a_plain_offer_passes() -> None:
    offer = check_offer(OFFER, receive=True)
    assert (offer.video, offer.mid, offer.bundle) == (True, "0", ("0",))
    assert offer.head == "m=video 9 UDP/TLS/RTP/SAVPF 96 97"


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
def test_a_viewer_that_takes_no_video_is_told(direction: str) -> None:
    with pytest.raises(ProtocolError, match="recvonly"):
        check_offer(OFFER.replace("a=sendonly", f"a={direction}"), receive=False)


def test_bundled_sections_inherit_what_they_leave_out() -> None:
    offer = check_offer(text(*BUNDLED, *VIDEO, *DATA, "a=bundle-only"), receive=True)
    data = offer.sdp.split("m=application")[1]
    for line in (*ICE, PRINT, "a=setup:actpass"):
        assert line in data
    assert "a=group:BUNDLE 0 1\r\n" in offer.sdp


def test_what_stands_above_all_sections_holds_for_each() -> None:
    own = [line for line in VIDEO if line not in (*ICE, PRINT)]
    offer = check_offer(text(*HEAD, PRINT, *ICE, *own), receive=True)
    assert offer.sdp.index("m=video") < offer.sdp.index(PRINT)


def test_no_direction_means_both() -> None:
    offer = check_offer(without("a=sendonly"), receive=True)
    assert "a=sendrecv\r\n" in offer.sdp


@pytest.mark.parametrize(
    ("offer", "sentence"),
    [
        ("", "no SDP"),
        ("hello", "no SDP"),
        (text("v=0", *["x=" + "y" * 1000] * 66), f"longer than {MAX_BYTES}"),
        (text(*VIDEO), "must begin with v=0"),
        (text(*HEAD, "m=video x UDP/TLS/RTP/SAVPF 96"), "m-line"),
        (without("a=ice-ufrag"), "no ICE credentials"),
        (OFFER.replace("a=ice-ufrag:abcd", "a=ice-ufrag:a"), "no ICE credentials"),
        (without("a=ice-pwd"), "no ICE credentials"),
        (OFFER.replace("p" * 22, "p" * 21), "ICE password"),
        (without("a=fingerprint"), "no DTLS fingerprint"),
        (OFFER.replace("sha-256", "sha-1"), "no DTLS fingerprint"),
        (without("a=setup"), "no DTLS role"),
        (OFFER.replace("actpass", "holdconn"), "no DTLS role"),
        (without("a=rtcp-mux"), "multiplex"),
        (OFFER.replace("a=sendonly", "a=recvonly"), "sends no video"),
        (OFFER.replace("video", "audio"), "sends no video"),
        (text(*HEAD, *VIDEO, *DATA), "bundle"),
        (text(*HEAD, "a=group:BUNDLE 0", *VIDEO, *DATA), "bundle"),
        (text(*BUNDLED, *VIDEO, *(line.replace("mid:0", "mid:1") for line in VIDEO)), "several video"),
        (text(*HEAD, *(VIDEO * 5)), "5 m-lines"),
        (OFFER + "a=rtpmap:96 VP8/90000\r\n" * 200, "more lines"),
        (OFFER + "a=x:\x00\r\n", "characters"),
    ],
)
def test_what_is_refused_is_named(offer: str, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        check_offer(offer, receive=True)


def test_a_viewer_must_want_something() -> None:
    with pytest.raises(ProtocolError, match="neither video nor data"):
        check_offer(OFFER.replace("m=video", "m=audio"), receive=False)
    assert not check_offer(text(*HEAD, *DATA, *ICE, PRINT, "a=setup:actpass"), receive=False).video


def test_a_fragment_comes_back_as_it_was_written() -> None:
    offer = check_offer(text(*BUNDLED, *VIDEO, *DATA), receive=True)
    candidate = "1 1 udp 2130706431 192.0.2.7 5000 typ host"
    told = read_fragment(
        text("a=ice-ufrag:EFGH", "a=ice-pwd:" + "q" * 22, "m=video 9 RTP/AVP 0", f"a=candidate:{candidate}")
    )
    assert (told.ufrag, told.password, told.candidates[0].host) == ("EFGH", "q" * 22, "192.0.2.7")
    written = write_fragment(offer, told.ufrag, told.password, list(told.candidates))
    again = read_fragment(written)
    assert (again.ufrag, again.password) == (told.ufrag, told.password)
    assert again.candidates[0].to_sdp() == candidate
    assert "a=group:BUNDLE 0 1" in written
    assert written.endswith("a=end-of-candidates\r\n")


@pytest.mark.parametrize(
    "fragment",
    [
        "",
        "x",
        text("a=ice-ufrag:a"),
        text("a=candidate:1 1 udp 3"),
        text("a=candidate:1 x udp 1 192.0.2.7 1 typ host"),
        text(*["a=candidate:1 1 udp 1 192.0.2.7 1 typ host"] * 65),
    ],
)
def test_a_damaged_fragment_is_refused(fragment: str) -> None:
    with pytest.raises(ProtocolError):
        read_fragment(fragment)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_only_typed_errors(data: st.DataObject) -> None:
    lines = [*BUNDLED, *VIDEO, *DATA]
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.integers(0, 2))
        if kind == 0:
            lines[place] = data.draw(st.text(max_size=40))
        elif kind == 1:
            lines.insert(place, data.draw(st.sampled_from(lines)) + data.draw(st.text(max_size=5)))
        else:
            cut = data.draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:cut]
    for read in (lambda body: check_offer(body, receive=True), read_fragment):
        try:
            read("\r\n".join(lines))
        except ProtocolError:
            continue
