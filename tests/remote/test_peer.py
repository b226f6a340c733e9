"""Real peers on the loopback: offers, video both ways, ICE restarts, and every way a connection ends."""

import asyncio
import re
import time
from typing import Any

import pytest
from remote.rtc_pair import Client, echo, join, make_peer, number_of, numbered, until

from stream.errors import ProtocolError
from stream.protocol.clock import media_time, wall_micros
from stream.remote.refusals import SupersededError
from stream.remote.transport import peer as peer_module
from stream.remote.transport.incoming import DecodedPicture, IncomingVideo
from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.sdp import read_fragment
from stream.remote.transport.video import SharedVideo


async def show(shared: SharedVideo, count: int, first: int = 0) -> dict[int, tuple[int, int]]:
    """Offer numbered pictures at 50 per second; each one's number and capture time by its media time."""
    shown = {}
    for number in range(first, first + count):
        micros = wall_micros(time.monotonic())
        shared.offer(numbered(number), micros)
        shown[media_time(micros)] = (number, micros)
        await asyncio.sleep(0.02)
    return shown


def reading(incoming: IncomingVideo, into: list[DecodedPicture]) -> asyncio.Future[None]:
    def read() -> None:
        while (picture := incoming.wait()) is not None:
            into.append(picture)

    return asyncio.get_running_loop().run_in_executor(None, read)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_published_picture_arrives_with_the_time_it_was_taken(codec: str) -> None:
    async def run() -> None:
        shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
        feed = client.sends(shared, codec)
        await join(client, peer, receive=True)
        incoming = peer.video
        pictures: list[DecodedPicture] = []
        reader = reading(incoming, pictures)
        await show(shared, 1)
        await until(lambda: feed.rtp_offset() is not None)
        incoming.clock.offset = feed.rtp_offset()
        await until(lambda: len(pictures) == 1)
        shown = await show(shared, 40, first=1)
        await until(lambda: bool(pictures) and number_of(pictures[-1].image) == 40)
        await client.close()
        await asyncio.wait_for(reader, 10)  # the end of the peer is the end of the track
        await until(lambda: peer.state == "closed")
        for picture in pictures[1:]:
            number, micros = shown[(picture.rtp - incoming.clock.offset) % 2**32]
            assert number_of(picture.image) == number
            assert abs(wall_micros(picture.captured) - micros) <= 12
        assert len(pictures) > 30
        shared.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "offered", ["profile-level-id=640028;packetization-mode=1", "profile-level-id=4d401f", None]
)
def test_h264_of_any_profile_is_received(offered: str | None) -> None:
    async def run() -> None:
        shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
        client.sends(shared, "H264")
        ours = re.compile(r"a=fmtp:(\d+) level-asymmetry-allowed[^\r]*\r\n")
        theirs = "" if offered is None else rf"a=fmtp:\1 {offered}\r\n"
        offer = await client.offer()
        answer = await peer.accept(ours.sub(theirs, offer), receive=True, send=None)
        assert answer.count("H264/90000") == 2
        assert answer.count("profile-level-id") == answer.count(str(offered)) == (2 if offered else 0)
        for kind in ours.findall(offer):  # the client's aiortc knows but what it offered
            line = f"a=rtpmap:{kind} H264/90000\r\n"
            wanted = next(found[0] for found in ours.finditer(offer) if found[1] == kind)
            answer = re.sub(rf"a=fmtp:{kind} [^\r]*\r\n", "", answer).replace(line, line + wanted)
        await client.take(answer)
        pictures: list[DecodedPicture] = []
        reader = reading(peer.video, pictures)
        await until(lambda: peer.state == "connected")
        await show(shared, 20)
        await until(lambda: bool(pictures) and number_of(pictures[-1].image) == 19)
        await peer.close()
        await asyncio.wait_for(reader, 10)
        await client.close()
        shared.close()

    asyncio.run(run())


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_viewer_finds_each_picture_by_its_rtp_timestamp(codec: str) -> None:
    async def run() -> None:
        shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
        client.receives(codec)
        assert client.incoming is not None
        assert peer.rtp_offset() is None
        await join(client, peer, receive=False, send=shared.feed())
        pictures: list[DecodedPicture] = []
        reader = reading(client.incoming, pictures)
        shown = await show(shared, 40)
        offset = peer.rtp_offset()
        assert offset is not None
        await until(lambda: bool(pictures) and number_of(pictures[-1].image) == 39)
        for picture in pictures:
            assert shown[(picture.rtp - offset) % 2**32][0] == number_of(picture.image)
        assert len(pictures) > 30
        await peer.close()
        await asyncio.wait_for(reader, 10)
        await client.close()
        shared.close()

    asyncio.run(run())


def test_a_lost_picture_is_mended_by_a_key_frame_that_the_viewer_asks_for() -> None:
    async def run() -> None:
        shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
        client.receives()
        assert client.incoming is not None
        feed = shared.feed()
        await join(client, peer, receive=False, send=feed)
        pictures: list[DecodedPicture] = []
        reader = reading(client.incoming, pictures)
        await show(shared, 5)
        await until(lambda: len(pictures) >= 5)
        link, asked = peer._rtc.links[0], []
        sender: Any = feed._sender
        request, resend, send = sender._send_keyframe, sender._retransmit, link._active.send

        lost: list[object] = []

        async def lose(*sent: object) -> None:
            """Nothing is sent again, and what is sent now is lost."""
            lost.extend(sent)

        sender._retransmit, link._active.send = lose, lose
        sender._send_keyframe = lambda: (asked.append(1), request())
        await show(shared, 1, first=100)
        await until(lambda: any(isinstance(sent, bytes) and len(sent) > 100 for sent in lost))
        link._active.send = send
        shared._last_keys.clear()
        for _ in range(3):
            await show(shared, 20, first=101)
        assert asked
        await until(lambda: number_of(pictures[-1].image) == 120)
        assert all(number_of(picture.image) != 100 for picture in pictures)
        sender._retransmit = resend
        await peer.close()
        await asyncio.wait_for(reader, 10)
        await client.close()
        shared.close()

    asyncio.run(run())


def test_ice_restarts_while_media_and_data_go_on() -> None:
    async def run() -> None:
        shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
        client.receives()
        assert client.incoming is not None
        echoed: list[Any] = []
        channel = client.channel()
        peer.on_text = echo(peer)
        channel.on("message", echoed.append)
        await join(client, peer, receive=False, send=shared.feed())
        pictures: list[DecodedPicture] = []
        reader = reading(client.incoming, pictures)
        await until(lambda: channel.readyState == "open")
        link, old = client.rtc.links[0], peer._rtc.links[0]._active
        assert old is not None
        for round_number in range(2):
            before = (peer.etag, link.local_username, link._active.local_candidates[0].port)
            await client.restart(peer)
            for path in (link, peer._rtc.links[0]):
                await until(lambda path=path: path._active is path._newest)  # type: ignore[misc]
            # The old network is gone: nothing can come or go there any more.
            await old.close()
            channel.send(f"round {round_number}")
            await until(lambda number=round_number: f"round {number}" in echoed)  # type: ignore[misc]
            after = (peer.etag, link.local_username, link._active.local_candidates[0].port)
            assert all(one != other for one, other in zip(before, after, strict=True))
            old = peer._rtc.links[0]._active
            assert old is not None
            shown = await show(shared, 10, first=10 * round_number)
            last = max(number for number, _ in shown.values())
            await until(lambda last=last: bool(pictures) and number_of(pictures[-1].image) == last)  # type: ignore[misc]
        assert peer.state == "connected"
        await peer.close()
        await asyncio.wait_for(reader, 10)
        await client.close()
        shared.close()

    asyncio.run(run())


def test_a_restart_that_leads_nowhere_leaves_the_old_way() -> None:
    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        echoed: list[Any] = []
        channel = client.channel()
        peer.on_text = echo(peer)
        channel.on("message", echoed.append)
        await join(client, peer, receive=False)
        await until(lambda: channel.readyState == "open")
        for _ in range(3):  # each gives up the one before
            gone = read_fragment("a=ice-ufrag:gone\r\na=ice-pwd:" + "x" * 22)
            answer = read_fragment(await peer.restart(gone))
            assert answer.candidates
        channel.send("still here")
        await until(lambda: echoed == ["still here"])
        with pytest.raises(ProtocolError, match="credentials"):
            await peer.restart(read_fragment("a=ice-ufrag:gone\r\n"))
        await peer.close()
        await client.close()

    asyncio.run(run())


def test_candidates_of_every_section_count() -> None:
    """Browsers write them into the first section of a bundle only."""

    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        client.channel()
        first, data, rest = (await client.offer()).partition("m=application")
        found = [line for line in first.split("\r\n") if line.startswith("a=candidate")]
        assert found
        offer = first + data + re.sub(r"a=candidate[^\r]*\r\n", "", rest)
        await peer.accept(offer, receive=False, send=None)
        assert len(peer._rtc.links[0].remote_candidates) == len(found)
        await peer.close()
        await client.close()

    asyncio.run(run())


def test_candidates_may_come_later() -> None:
    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        offer = await client.offer()
        lines = [line for line in offer.split("\r\n") if "candidate" not in line]
        found = [line for line in offer.split("\r\n") if line.startswith("a=candidate")]
        answer = await peer.accept("\r\n".join(lines), receive=False, send=None)
        assert "a=ice-options:trickle" in answer
        assert "a=candidate" in answer
        link = client.rtc.links[0]
        lines = [f"a=ice-ufrag:{link.local_username}", f"a=ice-pwd:{link.local_password}"]
        fragment = read_fragment("\r\n".join([*lines, "m=video 9 RTP/AVP 0", "a=mid:0", *found]))
        assert not peer.restarts(fragment)
        await peer.trickle(fragment)
        assert [candidate.port for candidate in peer._rtc.links[0].remote_candidates]
        await client.take(answer)
        await until(lambda: peer.state == "connected")
        await client.restart(peer)
        with pytest.raises(SupersededError):
            peer.restarts(fragment)
        assert peer.restarts(read_fragment("a=ice-ufrag:other\r\na=ice-pwd:" + "x" * 22))
        await peer.close()
        with pytest.raises(ProtocolError, match="over"):
            await peer.trickle(fragment)
        await client.close()

    asyncio.run(run())


def test_audio_is_answered_and_not_taken() -> None:
    async def run() -> None:
        shared, peer, rtc = SharedVideo(640, 1500), make_peer(), PeerConnection([])
        rtc.addTransceiver("audio", "sendonly")  # first, as OBS has it
        rtc.addTransceiver(shared.feed(), "sendonly")
        await rtc.setLocalDescription(await rtc.createOffer())
        answer = await peer.accept(rtc.localDescription.sdp, receive=True, send=None)
        audio, video = answer.split("m=")[1:]
        assert audio.startswith("audio")
        assert "a=inactive" in audio
        assert "a=recvonly" in video
        await peer.close()
        await rtc.close()

    asyncio.run(run())


@pytest.mark.parametrize("offer", ["", "v=0\r\n", "m=video 9 x"])
def test_a_refused_offer_closes_the_peer(offer: str) -> None:
    async def run() -> None:
        peer, closed = make_peer(), []
        peer.on_closed = lambda: closed.append(1)
        with pytest.raises(ProtocolError):
            await peer.accept(offer, receive=True, send=None)
        assert (peer.state, closed) == ("closed", [1])

    asyncio.run(run())


def test_an_offer_without_a_common_codec_is_refused() -> None:
    async def run() -> None:
        client, peer = Client(), make_peer()
        client.receives()
        offer = (await client.offer()).replace("VP8", "VP9")
        with pytest.raises(ProtocolError, match="codec in common"):
            await peer.accept(offer, receive=False, send=None)
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("end", ["close", "client", "silence"])
def test_the_end_is_told_once(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "SILENT_SECONDS", 1.0)

    async def run() -> None:
        client, peer, closed = Client(), make_peer(), []
        peer.on_closed = lambda: closed.append(peer.state)
        client.receives()
        await join(client, peer, receive=False)
        if end == "silence":
            peer._idle_seconds = 1.0
        begun = time.monotonic()
        if end == "close":
            await asyncio.gather(peer.close(), peer.close())
        elif end == "client":
            await client.close()
        else:
            for protocol in client.rtc.links[0].path._protocols:  # the client's cable is cut
                protocol.datagram_received = protocol.transport.sendto = lambda *_: None
        await until(lambda: bool(closed))
        assert closed == ["failed" if end == "silence" else "closed"]
        assert time.monotonic() - begun < 10
        await peer.close()
        await client.close()
        assert len(closed) == 1

    asyncio.run(run())


def test_a_peer_that_never_connects_ends() -> None:
    async def run() -> None:
        client, peer, closed = Client(), make_peer(idle=0.5), []
        peer.on_closed = lambda: closed.append(peer.state)
        client.receives()
        await peer.accept(await client.offer(), receive=False, send=None)
        await until(lambda: closed == ["failed"], 5)
        await client.close()

    asyncio.run(run())


def test_a_peer_is_a_handful_of_tasks_and_none_stay() -> None:
    async def run() -> None:
        for _ in range(3):
            shared, client, peer = SharedVideo(640, 1500), Client(), make_peer()
            client.receives()
            client.channel()
            await join(client, peer, receive=False, send=shared.feed())
            await client.restart(peer)
            await peer.close()
            await client.close()
            shared.close()
        await until(lambda: len(asyncio.all_tasks()) <= 2)

    asyncio.run(run())
