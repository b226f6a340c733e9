"""The page in a browser, with a session that plays prepared messages: what it shows, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from remote.page_helpers import (
    DESKTOP,
    PHONE,
    PlayedHub,
    browser,
    in_order,
    need_browser,
    picture,
    portrait,
    prepared,
    probe,
    rig,
    skin,
    until,
)

from stream.remote.refusals import ServerFullError
from stream.remote.server.http.server import RemoteServer
from stream.remote.settings import ServeSettings

OUT = Path(__file__).parents[2] / "out"

EDGE = 50
"""Pixels at the stage's edge where other things than the face may be."""

WATCHING = "#session=astronaut&transport=ws"


Play = Callable[[Coroutine[Any, Any, None]], None]


class Stage:
    """The browser of all tests: its start takes longer than most of them."""

    chromium: Any = None


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    """Runs a test's coroutine."""
    need_browser()
    portrait()
    prepared()
    with asyncio.Runner() as runner:
        opening = browser()
        Stage.chromium = runner.run(opening.__aenter__())
        try:
            yield runner.run
        finally:
            runner.run(opening.__aexit__(None, None, None))


@contextlib.asynccontextmanager
async def page_of(
    hub: PlayedHub, where: str = "", size: dict[str, int] = DESKTOP, script: str = "", **settings: Any
) -> AsyncIterator[tuple[Any, RemoteServer]]:
    """The page, opened with ``where`` behind its address; fails if it logs what it should not."""
    server = RemoteServer(ServeSettings(port=0, **settings), hub)  # type: ignore[arg-type]
    await server.start()
    try:
        context = await Stage.chromium.new_context(viewport=size)
        try:
            page = await context.new_page()
            complaints: list[str] = []
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: _hear(message, complaints))
            if script:
                await page.add_init_script(script)
            await page.goto(f"{server.url}/{where}")
            yield page, server
            assert complaints == []
        finally:
            await context.close()
    finally:
        await server.stop()


def _hear(message: Any, complaints: list[str]) -> None:
    """Keep errors, but those of requests that the test makes fail."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        complaints.append(message.text)


async def show(page: Any, mode: str) -> np.ndarray:
    """The stage in that mode, once it was drawn anew."""
    shown = (await probe(page))["shown"]
    await page.check(f"input[value={mode}]")
    await until(page, f"view.shown > {shown} + 2")
    return await picture(page, OUT / f"page-{mode}.png")


def drawn(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels brighter than the stage's ground, but for its edge with the focus and figures."""
    bright = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > 60
    return np.pad(bright[EDGE:-EDGE, EDGE:-EDGE], EDGE)


def test_the_face_is_shown_in_every_mode(play: Play) -> None:
    async def run() -> None:
        hub = PlayedHub()
        async with page_of(hub, WATCHING) as (page, _):
            await until(page, "view.frames.length > 5")
            textured = await show(page, "textured")
            share = skin(textured)[200:600, 300:600].mean()
            assert 0.25 < share < 0.95, "a face, in the middle"
            assert skin(textured)[:, :120].mean() < 0.02, "and none at the side"
            lit, normals, wire = [await show(page, mode) for mode in ("lit", "normals", "wire")]
            face = drawn(lit)
            assert face[200:600].mean() > 0.15
            assert np.ptp(lit[face].astype(int), axis=1).mean() < 25, "clay is grey"
            assert normals[face].mean(0).argmax() == 2, "normals face the viewer: blue"
            assert wire[face][:, 2].mean() > 1.3 * wire[face][:, 0].mean(), "lines are light blue"
            view = await probe(page)
            assert (view["transport"], view["faces"], view["lost"]) == ("websocket", 1, 0)
            assert in_order(view["frames"]), "each picture once"
            textures = [frame["exact"] for frame in view["frames"][:5]]
            assert any(textures), "surfaces are shown with their own pictures"
            latencies = [frame["latency"] for frame in view["frames"] if frame["latency"] is not None]
            assert all(0 < latency < 5000 for latency in latencies)
            await page.wait_for_function(
                "() => document.getElementById('fig-latency').textContent.includes('ms')"
            )
        assert hub.heard["subscribe"][0].texture
        assert hub.heard["report"][-1].shown > 0
        assert len(hub.heard["ping"]) >= 4

    play(run())


def test_the_view_turns_by_keyboard_and_mouse(play: Play) -> None:
    async def run() -> None:
        async with page_of(PlayedHub(), WATCHING) as (page, _):
            await until(page, "view.frames.length > 5")
            front = drawn(await show(page, "lit"))
            await page.focus("#stage")
            for _ in range(8):
                await page.keyboard.press("ArrowRight")
            turned = drawn(await show(page, "lit"))
            assert (front != turned).mean() > 0.02
            await page.keyboard.press("0")
            again = drawn(await show(page, "lit"))
            assert (front != again).mean() < 0.005
            await page.mouse.move(400, 400)
            await page.mouse.down()
            await page.mouse.move(560, 400, steps=4)
            await page.mouse.up()
            assert (front != drawn(await show(page, "lit"))).mean() > 0.02
            await page.click("#front")
            await page.keyboard.press("Shift+Tab")
            assert await page.evaluate("document.activeElement.name") == "mode"

    play(run())


def test_two_faces_stand_side_by_side_on_a_phone(play: Play) -> None:
    async def run() -> None:
        async with page_of(PlayedHub(lanes=2), WATCHING, PHONE) as (page, _):
            await until(page, "view.faces === 2 && view.frames.length > 10")
            columns = drawn(await show(page, "lit")).mean(0)
            half = len(columns) // 2
            assert columns[:half].max() > 0.15
            assert columns[half:].max() > 0.15
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], "nothing is wider than the phone"

    play(run())


def test_an_avatar_of_ones_own_is_driven_by_expressions(play: Play, tmp_path: Path) -> None:
    async def run() -> None:
        hub = PlayedHub()
        async with page_of(hub, WATCHING) as (page, _):
            await until(page, "view.frames.length > 2")
            await page.check("input[value=avatar]")
            await page.set_input_files("#avatar-file", rig(tmp_path / "egg.glb"))
            await page.wait_for_function(
                "() => document.getElementById('avatar-words').textContent.includes('1 of ARKit')"
            )
            shown = (await probe(page))["shown"]
            await until(page, f"view.faces === 1 && view.shown > {shown} + 3")
            reds = []
            for _ in range(8):
                image = (await picture(page, OUT / "page-avatar.png")).astype(int)
                reds.append(int((image[..., 0] > image[..., 2] + 60).sum()))
            assert min(reds) > 1000, "the egg is there"
            assert max(reds) > 1.03 * min(reds), "and its jaw moves"
        wanted = hub.heard["subscribe"][-1]
        assert (wanted.mesh, wanted.expression, wanted.texture) == (False, True, False)

    play(run())


def test_the_page_comes_back_when_the_server_does(play: Play) -> None:
    async def run() -> None:
        async with page_of(PlayedHub(), WATCHING) as (page, server):
            await until(page, "view.frames.length > 3")
            port = int(server.url.rsplit(":", 1)[1])
            await server.stop()
            await until(page, "view.state === 'reconnecting'")
            again = RemoteServer(ServeSettings(port=port), PlayedHub())  # type: ignore[arg-type]
            await again.start()
            try:
                since = await page.evaluate("performance.now()")
                await until(page, "view.connections >= 2 && view.frames.at(-1)?.connection >= 2")
                first = await page.evaluate("window.prosopon.view.frames.find(f => f.connection >= 2).at")
                assert 0 < first - since < 15000, "5 s on a machine that does nothing else"
            finally:
                await again.stop()

    play(run())


def test_a_websocket_takes_over_where_webrtc_fails(play: Play) -> None:
    async def run() -> None:
        # The hub's answer is no SDP, which is one of many ways in which WebRTC can fail.
        hub = PlayedHub()
        hub.sessions["astronaut"] = object()  # type: ignore[assignment]
        async with page_of(hub, "#session=astronaut") as (page, _):
            await until(page, "view.transport === 'websocket' && view.frames.length > 3")

    play(run())


def test_refusals_are_said_in_plain_words(play: Play) -> None:
    async def run() -> None:
        hub = PlayedHub()
        hub.refusal = ServerFullError("The server has no room; try again later.", retry_after=7)
        async with page_of(hub, publish_token="let-me-in", view_token="look") as (page, _):
            assert await words(page, "sessions-words") == "This server asks for a token."
            for wrong in ("wröng \u2603", "wrong"):
                await page.fill("#token", wrong)
                await page.press("#token", "Enter")
                assert "does not accept this token" in await words(page, "sessions-words", "does not")
            await page.click("#send-button")
            assert await words(page, "send-words", "does not") == "The server does not accept this token."
            await page.fill("#token", "let-me-in")
            await page.press("#token", "Enter")
            await page.click("#sessions button")
            await page.click("#send-button")
            full = await words(page, "send-words", "room")
            assert full == "The server has no room. Trying again in 7 s."
            assert await page.text_content("#send-button") == "Stop"
            await page.click("#send-button")
            assert await page.text_content("#send-button") == "Start camera"

    play(run())


def test_a_token_leaves_the_address_and_stays_in_the_tab(play: Play) -> None:
    async def run() -> None:
        where = "#session=astronaut&transport=ws&token=let+me/in=="
        async with page_of(PlayedHub(), where, publish_token="let+me/in==") as (page, _):
            await until(page, "view.frames.length > 3")
            assert "let" not in page.url
            assert await page.evaluate("sessionStorage.getItem('prosopon.token')") == "let+me/in=="

    play(run())


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("NotAllowedError", "refused"), ("NotFoundError", "No camera"), ("NotReadableError", "Another program")],
)
def test_a_camera_that_cannot_be_had_is_said(play: Play, reason: str, expected: str) -> None:
    async def run() -> None:
        refuse = f"() => Promise.reject(new DOMException('', '{reason}'))"
        script = f"MediaDevices.prototype.getUserMedia = {refuse}"
        async with page_of(PlayedHub(), script=script) as (page, _):
            await page.click("#send-button")
            assert expected in await words(page, "send-words", expected)
            assert await page.text_content("#send-button") == "Start camera"
            assert (await probe(page, "send"))["state"] == "failed"

    play(run())


def test_every_control_has_a_name(play: Play) -> None:
    async def run() -> None:
        async with page_of(PlayedHub()) as (page, _):
            nameless = await page.evaluate(
                """() => [...document.querySelectorAll('button, input, select, canvas, #preview')]
                    .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
                    .map((one) => one.outerHTML)"""
            )
            assert nameless == []
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.id") == "skip"
            await page.keyboard.press("Enter")
            assert await page.evaluate("document.activeElement.id") == "panel"

    play(run())


async def words(page: Any, place: str, containing: str = ".") -> str:
    """What the page says in a place, once it says that."""
    found = f"() => document.getElementById('{place}').textContent.includes({containing!r})"
    await page.wait_for_function(found)
    return (await page.text_content(f"#{place}")).strip()
