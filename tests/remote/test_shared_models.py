"""The real models behind a server's sessions: one network, and of each frame what somebody wants."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from remote.session_helpers import Camera, Watcher, eventually, settings

from stream import session as session_module
from stream.errors import BackendError
from stream.evaluation.keep import KeepCaptures
from stream.memory import TrackMemory
from stream.mesh.stage import SurfaceStage
from stream.pipeline.metrics import Metrics
from stream.pipeline.runner import Summary
from stream.protocol.fragments import Kind
from stream.protocol.messages import Subscribe
from stream.recipes import LIVE_SIDE, CaptureSettings
from stream.remote.server.sessions import models as models_module
from stream.remote.server.sessions.broadcast import Broadcast
from stream.remote.server.sessions.hub import SessionHub
from stream.remote.server.sessions.mailbox import Packet, Tier
from stream.remote.server.sessions.models import SharedModels
from stream.remote.server.sessions.sinks import LOOKS, BroadcastSink
from stream.remote.server.sessions.viewer import Wants
from stream.remote.settings import SendSettings
from stream.session import Session
from stream.sources.sample import SampleSource
from stream.types import Capture

SETTINGS = CaptureSettings(inference="openvino", compute="numba")

MESHES, EXPRESSIONS = Wants(Tier.FULL), Wants(expression=True)


@pytest.fixture(scope="module")
def models() -> Iterator[SharedModels]:
    settled: list[bool] = []
    patch = pytest.MonkeyPatch()
    patch.setattr(models_module, "settle_heap", lambda: settled.append(gc.isenabled()))
    loaded = SharedModels(SETTINGS, LIVE_SIDE, 2)
    loaded.load()
    patch.undo()
    assert settled == [True]
    yield loaded
    loaded.close()
    loaded.close()


class Listener:
    """A viewer, as the broadcast sees it."""

    def __init__(self, wants: Wants) -> None:
        self.wants = wants
        self.kinds: list[Kind] = []

    def offer(self, packets: Sequence[Packet], late: bool) -> None:
        self.kinds += [packet.message.kind for packet in packets]


class Watched(BroadcastSink):
    """The sink of a session, which also notes the steps of each capture.

    :param change: called on the event loop after each capture, with how many there were.
    """

    def __init__(self, broadcast: Broadcast, change: Callable[[int], None]) -> None:
        super().__init__(broadcast)
        self.steps: list[frozenset[str]] = []
        self._change, self._loop = change, asyncio.get_running_loop()

    def __call__(self, capture: Capture) -> Capture:
        self.steps.append(frozenset(capture.steps))
        super().__call__(capture)
        self._loop.call_soon_threadsafe(self._change, len(self.steps))
        return capture


def played(
    models: SharedModels,
    frames: int,
    listeners: Sequence[Listener] = (),
    change: Callable[[Broadcast, int], None] = lambda broadcast, count: None,
    fast: bool = True,
) -> tuple[list[frozenset[str]], Summary]:
    """The sample as a session: the steps of each frame, and how it went."""

    async def run() -> tuple[list[frozenset[str]], Summary]:
        broadcast = Broadcast(SendSettings())
        for listener in listeners:
            broadcast.join(listener)
        sink = Watched(broadcast, lambda count: change(broadcast, count))
        session = models.session(SampleSource(fast=fast), [sink], Metrics(), frames)
        summary = await session.pipeline.run()
        await asyncio.sleep(0)
        return sink.steps, summary

    return asyncio.run(run())


def test_a_session_sees_what_one_of_its_own_network_would(models: SharedModels) -> None:
    alone, shared = KeepCaptures("surface"), [KeepCaptures("surface") for _ in range(2)]
    Session(SampleSource(fast=True), [alone], SETTINGS, frames=3, settle=False).run()
    for keep in shared:
        models.session(SampleSource(fast=True), [keep], frames=3).run()
        for here, there in zip(keep.captures, alone.captures, strict=True):
            assert set(here.steps) == {"face", "depth", "surface"}
            (mine,), (other,) = here.people, there.people
            assert mine.surface is not None
            assert other.surface is not None
            solid = other.surface.alpha > 0.5
            assert ((mine.surface.alpha > 0.5) == solid).mean() > 0.999
            assert np.median(np.abs(mine.surface.depth - other.surface.depth)[solid]) < 1e-5


def test_what_nobody_wants_is_not_worked_out(models: SharedModels) -> None:
    for listeners, wanted in (
        ([Listener(EXPRESSIONS)], {"face", "expression"}),
        ([Listener(MESHES)], {"face", "depth", "surface"}),
        ([Listener(MESHES), Listener(EXPRESSIONS)], {"face", "depth", "surface", "expression"}),
    ):
        steps, summary = played(models, 4, listeners)
        assert set(steps) == {frozenset(wanted)}
        assert summary.metrics["drops"] == 0


def test_while_nobody_watches_faces_are_looked_for_four_times_a_second(models: SharedModels) -> None:
    steps, summary = played(models, 60, fast=False)
    looks = [seen for seen in steps if seen]
    stages, lost = summary.metrics["stages"], summary.metrics["drops"]
    assert set(looks) == {frozenset({"face"})}
    # A look may be put off to the next frame, or lost on a busy machine.
    assert LOOKS * summary.seconds * 0.8 - 1 - lost <= len(looks) <= LOOKS * summary.seconds + 1
    assert stages["face"]["count"] < stages["source"]["count"] / 3
    assert stages["depth"]["count"] == 0


def test_a_viewer_who_wants_expressions_joins_while_it_runs(models: SharedModels) -> None:
    meshes, expressions = Listener(MESHES), Listener(EXPRESSIONS)

    def change(broadcast: Broadcast, count: int) -> None:
        if count == 4:
            broadcast.join(expressions)

    steps, summary = played(models, 12, [meshes], change)
    assert ["expression" in seen for seen in steps] == sorted("expression" in seen for seen in steps)
    assert "expression" not in steps[0]
    assert "expression" in steps[-1]
    assert all("surface" in seen for seen in steps)
    assert Kind.EXPRESSION in expressions.kinds
    assert summary.metrics["drops"] == 0


def test_a_hundred_changes_of_demand_lose_no_frame_and_leak_nothing(
    models: SharedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories: list[TrackMemory] = []

    def remember() -> TrackMemory:
        memories.append(TrackMemory())
        return memories[-1]

    monkeypatch.setattr(session_module, "TrackMemory", remember)
    played(models, 2)  # what is made once
    before, broadcasts = set(threading.enumerate()), list[Broadcast]()
    here = {"meshes": Listener(MESHES), "expressions": Listener(EXPRESSIONS)}
    changes, most = [0], [0]

    def change(broadcast: Broadcast, count: int) -> None:
        broadcasts[:] = [broadcast]
        most[0] = max(most[0], len(memories[-1]))
        if count % 2 == 0 and changes[0] < 100:
            listener = here["meshes" if changes[0] % 3 else "expressions"]
            before_it = len(broadcast._listeners)
            broadcast.leave(listener)
            if len(broadcast._listeners) == before_it:
                broadcast.join(listener)
            changes[0] += 1

    frames = 210
    steps, summary = played(models, frames, change=change)
    metrics = summary.metrics
    assert changes[0] == 100
    assert len(set(steps)) >= 4
    assert len(steps) == metrics["stages"]["source"]["count"] == frames
    assert (metrics["drops"], sum(stage["errors"] for stage in metrics["stages"].values())) == (0, 0)
    assert set(threading.enumerate()) == before
    assert most[0] == 1
    assert len(memories[-1]) == 0
    for listener in here.values():
        broadcasts[0].leave(listener)
    assert broadcasts[0]._listeners == ()
    assert len(broadcasts[0]._encoders) == 1


def test_a_server_whose_models_fail_on_a_face_does_not_start(
    models: SharedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Capture:
        raise ValueError("a surface went wrong")

    monkeypatch.setattr(SurfaceStage, "__call__", fail)
    with pytest.raises(BackendError, match="surface failed on the sample"):
        models._check(asyncio.run(models._warm_up()))


class Portrait(Camera):
    """Publishes the sample."""

    def __init__(self) -> None:
        super().__init__()
        source = SampleSource(fast=True)
        source.open()
        frames = [source.read() for _ in range(30)]
        source.close()
        self.pictures = [frame.image for frame in frames if frame is not None]


def test_the_plan_of_a_server_is_what_runs_for_three_kinds_of_viewers(
    models: SharedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    send = BroadcastSink.__call__

    def note(self: BroadcastSink, capture: Capture) -> Capture:
        ran.append(tuple(capture.steps))
        return send(self, capture)

    monkeypatch.setattr(BroadcastSink, "__call__", note)
    for name in ("load", "close"):
        monkeypatch.setattr(models, name, lambda: None)

    async def lately(wanted: set[str]) -> None:
        """Frames for which all of that was worked out, and none for which more was."""
        await eventually(lambda: bool(ran) and set(ran[-1]) == wanted)
        await asyncio.sleep(0.2)
        del ran[:]
        await eventually(lambda: len(ran) > 10)
        assert set().union(*ran) == wanted

    async def play() -> None:
        hub = SessionHub(settings(capture=SETTINGS), models)
        await hub.open()
        camera, textures = Portrait(), Watcher(channels=False)
        expressions, meshes = Watcher(), Watcher()
        await camera.publish(hub, "s")
        await textures.watch(hub, "s")
        await eventually(lambda: hub._sessions["s"].running is not None)
        running = hub._sessions["s"].running
        assert running is not None
        plan = running.plan.to_dict()
        needed = {thing: {step["name"]} for step in plan["steps"] for thing in step["gives"]}
        assert set(plan["wanted"]) == {"face", "surface", "expression"}

        picture = await asyncio.to_thread(textures.client.incoming.wait)
        assert picture is not None
        await eventually(lambda: len(ran) > 20)
        assert set().union(*ran) == needed["face"]  # now and then, for who reads how many there are

        await expressions.watch(hub, "s")
        await expressions.until(lambda: bool(expressions.told))
        expressions.say(Subscribe(mesh=False, expression=True))
        await lately(needed["face"] | needed["expression"])
        assert any(message.kind is Kind.EXPRESSION for message in expressions.messages)

        await meshes.watch(hub, "s")
        await lately({step["name"] for step in plan["steps"]})
        assert meshes.frames
        assert running.plan.to_dict() == plan
        for party in (camera, textures, expressions, meshes):
            await party.close()
        await hub.close()

    asyncio.run(asyncio.wait_for(play(), 60))
