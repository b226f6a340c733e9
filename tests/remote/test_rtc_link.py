"""Data channels as a link: nothing is given to them that would grow old there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stream.errors import RemoteError
from stream.protocol.fragments import Kind, Message, Reassembler
from stream.protocol.messages import CONTROL, MESH
from stream.remote.transport.caller import Caller
from stream.remote.transport.link import MOST_TEXT
from stream.remote.transport.rtc_link import LOW, RtcLink


class FakeChannel:
    def __init__(self, label: str) -> None:
        self.label = label
        self.readyState = "open"
        self.bufferedAmount = 0
        self.bufferedAmountLowThreshold = 0
        self.sent: list[Any] = []
        self.handlers: dict[str, Callable[..., None]] = {}

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self.handlers[event] = handler

    def send(self, data: Any) -> None:
        self.sent.append(data)
        self.bufferedAmount += len(data)

    def drain(self) -> None:
        self.bufferedAmount = 0
        self.handlers["bufferedamountlow"]()

    def close(self) -> None:
        self.readyState = "closed"
        if "close" in self.handlers:
            self.handlers["close"]()


def message(size: int) -> Message:
    return Message(Kind.MESH, 0, 1, bytes(range(256)) * (size // 256))


def on_link(test: Callable[[RtcLink], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def play() -> None:
            link = RtcLink([])
            await test(link)
            await link.close()

        asyncio.run(play())

    run.__name__ = test.__name__
    return run


@on_link
async def test_a_message_waits_until_the_channel_has_little_left(link: RtcLink) -> None:
    channel = FakeChannel(MESH)
    waiting = asyncio.create_task(link.ready())
    await asyncio.sleep(0)
    assert not waiting.done()  # there is no channel yet
    link._rtc.emit("datachannel", channel)
    await asyncio.wait_for(waiting, 5)
    assert channel.bufferedAmountLowThreshold == LOW
    await link.send(message(20_480))
    assert link.waiting == channel.bufferedAmount > 20_480
    reassembler = Reassembler()
    (came,) = [done for datagram in channel.sent if (done := reassembler.accept(datagram))]
    assert came == message(20_480)
    waiting = asyncio.create_task(link.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.drain()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("label", [MESH, CONTROL])
def test_a_channel_that_closes_says_so_to_who_waits(label: str) -> None:
    @on_link
    async def play(link: RtcLink) -> None:
        channels = {name: FakeChannel(name) for name in (MESH, CONTROL)}
        for channel in channels.values():
            link._rtc.emit("datachannel", channel)
        await link.send(message(4096))
        waiting = asyncio.create_task(link.ready())
        await asyncio.sleep(0)
        channels[label].close()
        with pytest.raises(RemoteError, match="closed"):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(RemoteError, match="closed"):
            await link.send(message(256))
        assert link.tell("nobody hears this")

    play()


@on_link
async def test_control_messages_go_their_own_way_or_none(link: RtcLink) -> None:
    channel = FakeChannel(CONTROL)
    assert link.tell("nobody hears this")
    link._rtc.emit("datachannel", channel)
    assert link.tell("hello")
    assert channel.sent == ["hello"]
    channel.bufferedAmount = MOST_TEXT + 1
    assert not link.tell("too much")
    assert channel.sent == ["hello"]


@on_link
async def test_one_channel_of_each_kind_is_heard_and_others_are_closed(link: RtcLink) -> None:
    opened: list[str] = []
    texts: list[Any] = []
    datagrams: list[Any] = []
    link.on_channel, link.on_text, link.on_datagram = opened.append, texts.append, datagrams.append
    channels = [FakeChannel(label) for label in (CONTROL, MESH, MESH, CONTROL, "other")]
    for channel in channels:
        link._rtc.emit("datachannel", channel)
    assert opened == [CONTROL, MESH]
    assert [channel.readyState for channel in channels] == ["open"] * 2 + ["closed"] * 3
    channels[0].handlers["message"]("text")
    channels[1].handlers["message"](b"datagram")
    assert (texts, datagrams) == (["text"], [b"datagram"])


@pytest.mark.parametrize("urls", ["http://host", "stun:", ["turn:host", 3], "stun:host:99999999", 7])
def test_ice_servers_that_are_none_are_passed_over(urls: object) -> None:
    async def work() -> None:
        caller = Caller([{"urls": urls}, {"urls": "stun:127.0.0.1:9", "username": 5}])
        assert await caller.opened(0.0) is False
        await caller.close()

    asyncio.run(work())
