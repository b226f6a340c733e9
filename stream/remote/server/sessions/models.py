"""The models of a server: loaded once, used by the pipelines of all its sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from stream.errors import BackendError
from stream.face.tracker import open_tracker
from stream.inference.engine import Engine
from stream.inference.shared import SharedEngine
from stream.pipeline.heap import settle_heap
from stream.pipeline.metrics import Metrics
from stream.pipeline.runner import Summary
from stream.pipeline.slot import Policy
from stream.pipeline.source import Source
from stream.pipeline.stage import Sink
from stream.recipes import CaptureSettings, load_depth
from stream.remote.server.sessions.broadcast import Broadcast
from stream.remote.server.sessions.mailbox import Packet, Tier
from stream.remote.server.sessions.sinks import BroadcastSink
from stream.remote.server.sessions.viewer import Wants
from stream.remote.settings import SendSettings
from stream.session import Session
from stream.sources.sample import SampleSource

log = logging.getLogger(__name__)

MAX_BATCH = 16
"""Largest batch that is tried; a session has one face's depth asked for at a time."""

MAY_WANT = ("face", "surface", "expression")
"""Of people, what viewers may come to want."""


class SharedModels:
    """What sessions capture faces with: one depth network, and for each session stages of its own around it.

    :param side: of the depth maps.
    :param sessions: how many there are at most.
    """

    def __init__(self, settings: CaptureSettings, side: int, sessions: int) -> None:
        self._settings, self._side, self._sessions = settings, side, sessions
        self._engine: SharedEngine | None = None

    def load(self) -> None:
        """Load and warm up everything, so that no session's first frame waits; takes some seconds.

        Ends by collecting garbage for all (`settle_heap`), which would hold up sessions later.

        :raises ModelError, BackendError, ConfigError: something cannot run here.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="prosopon-load") as beside:
            tracker = beside.submit(self._load_tracker)  # a second of imports, while the network is compiled
            chosen = self._settings

            def load(batch: int) -> Engine:
                nonlocal chosen
                engine = load_depth(chosen, batch)
                # Larger batches are for the same backend: another one would be another network.
                chosen = chosen.model_copy(update={"inference": engine.backend})
                tracker.result()  # the batch sizes are timed next, and would be wrongly beside it
                return engine

            self._engine = SharedEngine(load, min(self._sessions, MAX_BATCH))
        log.info("Depth runs on %s, in batches of %s.", self._engine.backend, self._engine.sizes)
        self._check(asyncio.run(self._warm_up()))
        settle_heap()

    def session(
        self,
        source: Source,
        sinks: Sequence[Sink],
        metrics: Metrics | None = None,
        frames: int | None = None,
        policy: Policy | None = None,
    ) -> Session:
        """A session with its own stages around the shared network, not yet running; takes some 10 ms.

        :param metrics, frames, policy: as `stream.pipeline.runner.Pipeline`.
        :raises BackendError, ConfigError: as `stream.session.Session`.
        """
        return Session(
            source,
            sinks,
            self._settings,
            wanted=MAY_WANT,
            load=self.share,
            side=self._side,
            settle=False,
            metrics=metrics,
            frames=frames,
            policy=policy,
        )

    def share(self) -> Engine:
        """The depth network, for one session."""
        assert self._engine is not None, "load the models before the first session"
        return self._engine.front()

    def close(self) -> None:
        """Free the models; sessions must have ended."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _load_tracker(self) -> None:
        open_tracker("auto", self._settings.max_faces).close()

    async def _warm_up(self) -> Summary:
        """Two frames of the sample through a session and the encoder: imports, kernels, caches."""
        broadcast = Broadcast(SendSettings())
        broadcast.join(_Rehearsal())
        session = self.session(SampleSource(fast=True), [BroadcastSink(broadcast)], frames=2)
        return await session.pipeline.run()

    def _check(self, summary: Summary) -> None:
        failed = [name for name, stage in summary.metrics["stages"].items() if stage["errors"]]
        if failed:
            raise BackendError(
                f"Faces cannot be captured here: {', '.join(failed)} failed on the sample; the log says why."
            )


class _Rehearsal:
    """A viewer of the warm-up, who wants everything and takes nothing."""

    wants = Wants(Tier.FULL, expression=True)

    def offer(self, packets: Sequence[Packet], late: bool) -> None:
        """See `stream.remote.server.sessions.broadcast.Listener`."""
