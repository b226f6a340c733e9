"""The server with its real sessions: standard clients by HTTP, WebRTC and WebSocket."""

from __future__ import annotations

import asyncio
import json
import re
import time

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack

from stream.remote.server.http.server import RemoteServer
from stream.remote.server.sessions.control import RATE
from stream.remote.settings import ServeSettings

SDP = {"Content-Type": "application/sdp"}
TRICKLE = {"Content-Type": "application/trickle-ice-sdpfrag"}
NEW_ICE = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
)


async def offer(client: aiohttp.ClientSession, path: str, peer: RTCPeerConnection) -> tuple[str, str]:
    """Offer, take the answer; its Location and ETag."""
    await peer.setLocalDescription(await peer.createOffer())
    async with client.post(path, data=peer.localDescription.sdp, headers=SDP) as answer:
        assert answer.status == 201
        assert answer.content_type == "application/sdp"
        await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
        return answer.headers["Location"], answer.headers["ETag"]


async def picture_arrives(peer: RTCPeerConnection) -> None:
    async with asyncio.timeout(10):
        await peer.getReceivers()[0].track.recv()


def test_a_camera_is_published_watched_and_ended() -> None:
    async def run() -> None:
        server = RemoteServer(ServeSettings(port=0, publish_token="camera"))
        await server.start()
        camera, player = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
        bearer = {"Authorization": "Bearer camera"}
        try:
            async with aiohttp.ClientSession(server.url, headers=bearer) as client:
                camera.addTrack(VideoStreamTrack())
                location, _ = await offer(client, "/whip?session=ada", camera)
                assert re.fullmatch("/whip/[0-9a-f]{32}/ada", location)
                # A standard player: no data channels, the video alone.
                player.addTransceiver("video", direction="recvonly")
                viewer, tag = await offer(client, "/whep/ada", player)
                await picture_arrives(player)

                async with client.ws_connect("/ws/ada", protocols=("prosopon.v1",)) as socket:
                    assert json.loads(await socket.receive_str(timeout=5))["type"] == "hello"
                    pinging = client.ws_connect("/ws/ada", protocols=("prosopon.v1",), autoping=False)
                    async with pinging as other:
                        await other.ping(b"one")
                        seen = [await other.receive(timeout=5)]
                        while seen[-1].type is not aiohttp.WSMsgType.PONG:
                            seen.append(await other.receive(timeout=5))
                        assert seen[-1].data == b"one"
                        for _ in range(RATE):
                            await other.ping()
                        while not other.closed:
                            await other.receive(timeout=5)
                        assert other.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
                    async with client.get("/sessions") as answer:
                        (session,) = (await answer.json())["sessions"]
                        assert (session["name"], session["viewers"]) == ("ada", 2)

                async with client.post("/whip?session=ada", data="v=0", headers=SDP) as answer:
                    assert answer.status in (400, 409)
                restart = {**TRICKLE, "If-Match": "*"}
                async with client.patch(viewer, data=NEW_ICE, headers=restart) as answer:
                    assert answer.status == 200
                    assert "a=ice-ufrag:" in await answer.text()
                    assert answer.headers["ETag"] not in (tag, "")
                async with client.patch(viewer, data=NEW_ICE, headers={**TRICKLE, "If-Match": tag}) as answer:
                    assert answer.status == 412
                async with client.get("/metrics") as answer:
                    assert 'prosopon_frames_total{session="ada",stage="source"}' in await answer.text()

                async with client.delete(viewer) as answer:
                    assert answer.status == 200
                async with client.delete(location) as answer:
                    assert answer.status == 200
                async with client.get("/sessions") as answer:
                    assert (await answer.json())["sessions"] == []
        finally:
            begun = time.monotonic()
            await server.stop()
            assert time.monotonic() - begun < 10
            await asyncio.gather(camera.close(), player.close())

    asyncio.run(run())
