"""A connection is lost when nobody answers, not when this program was held up."""

from __future__ import annotations

import asyncio
import time

import pytest
from remote.fake_server import FakeServer

from stream.remote.client import silence
from stream.remote.client.silence import SILENCE_SECONDS, Silence
from stream.remote.client.watching.viewer import RemoteViewer


def test_pauses_without_a_sign_of_life_add_up() -> None:
    kept = Silence()
    assert not any(kept.waited(0.5) for _ in range(round(SILENCE_SECONDS / 0.5) - 1))
    kept.heard()
    assert not any(kept.waited(0.5) for _ in range(round(SILENCE_SECONDS / 0.5) - 1))
    assert kept.waited(0.5)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_a_program_that_was_held_up_keeps_its_connection(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 1.2)

    async def run() -> None:
        async with FakeServer() as server, RemoteViewer(server.url, transport=transport) as viewer:  # type: ignore[arg-type]
            await asyncio.wait_for(viewer.next_frame(), 15)
            await asyncio.sleep(0.5)  # the first pings, which go out quickly, are answered
            time.sleep(1.5)
            for _ in range(5):
                await asyncio.wait_for(viewer.next_frame(), 15)
            assert viewer.figures.reconnections == 0

    asyncio.run(run())
