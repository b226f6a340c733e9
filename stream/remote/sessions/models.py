"""The models of a server: loaded once, used by the pipelines of all its sessions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from stream.capture import CaptureSettings, face_stage, live_model
from stream.depth.stage import DepthStage
from stream.expression.stage import ExpressionStage
from stream.inference.backends import load_engine
from stream.inference.engine import Engine
from stream.inference.shared import SharedEngine
from stream.inference.store import open_model
from stream.mesh.stage import SurfaceStage
from stream.pipeline.heap import settle_heap
from stream.pipeline.members import Openable
from stream.sources.sample import SampleSource
from stream.types import Capture, Face

if TYPE_CHECKING:
    from stream.pipeline.stage import Stage

log = logging.getLogger(__name__)

MAX_BATCH = 16
"""Largest batch that is tried; a session has one face's depth asked for at a time."""


IDLE_SECONDS = 0.25
"""Between two looks for faces while nobody watches."""


class Wanted(Protocol):
    """What anybody wants of a session now (see `Broadcast`); read from its threads."""

    @property
    def meshes_wanted(self) -> bool: ...

    @property
    def expressions_wanted(self) -> bool: ...


class _Everything:
    meshes_wanted = expressions_wanted = True


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
        model = open_model(live_model(self._settings.inference))

        with ThreadPoolExecutor(1, thread_name_prefix="prosopon-load") as beside:
            tracker = beside.submit(self._load_tracker)  # a second of imports, while the network is compiled

            def load(batch: int) -> Engine:
                engine = load_engine(model, self._settings.inference, self._settings.threads, "f16", batch)
                tracker.result()  # the batch sizes are timed next, and would be wrongly beside it
                return engine

            self._engine = SharedEngine(load, min(self._sessions, MAX_BATCH))
        log.info("Depth runs on %s, in batches of %s.", self._engine.backend, self._engine.sizes)
        self._warm_up()
        settle_heap()

    def stages(self, wanted: Wanted) -> list[Stage]:
        """A session's own stages, not yet open: face, depth, surface, expression.

        What nobody wants is not worked out; faces are looked for now and then all the same, to tell of them.
        """
        assert self._engine is not None, "load the models before the first session"
        settings = self._settings
        depth = DepthStage(side=self._side, engine=self._engine.front)
        return [
            _Rarely(face_stage(settings), lambda: wanted.meshes_wanted or wanted.expressions_wanted),
            _Where(depth, lambda capture: wanted.meshes_wanted),
            # Not asked again: it must find depth where it wants some.
            _Where(SurfaceStage(settings.smooth), lambda capture: bool(capture.depths)),
            _Where(ExpressionStage(settings.ipd_mm), lambda capture: wanted.expressions_wanted),
        ]

    def close(self) -> None:
        """Free the models; sessions must have ended."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _load_tracker(self) -> None:
        stage = face_stage(self._settings)
        try:
            stage.open()
        finally:
            stage.close()

    def _warm_up(self) -> None:
        """Two frames of the sample through a session's stages and the encoder: imports, kernels, caches."""
        from stream.mesh.codec import MeshEncoder

        stages, encoder = self.stages(_Everything()), MeshEncoder()
        source = SampleSource(fast=True)
        parts: list[Openable] = [source, *stages]
        try:
            for part in parts:
                part.open()
            for number in range(2):
                frame = source.read()
                assert frame is not None
                capture = Capture(replace(frame, captured=time.monotonic()))
                for stage in stages:
                    capture = stage(capture) or capture
                for face, surface in zip(capture.faces, capture.depths, strict=True):
                    encoder.encode(number + 1, face, surface, number, number)
        finally:
            for part in parts:
                part.close()


class _Rarely:
    """The face stage: it follows faces while they are wanted, and else looks for them every `IDLE_SECONDS`.

    Captures in between get the faces that were found last: the sessions that are watched need the time.
    """

    def __init__(self, stage: Stage, wanted: Callable[[], bool]) -> None:
        self.name = stage.name
        self.open, self.close = stage.open, stage.close
        self._stage, self._wanted = stage, wanted
        self._faces: tuple[Face, ...] = ()
        self._due = float("-inf")

    def __call__(self, capture: Capture) -> Capture | None:
        now = time.monotonic()
        if now < self._due and not self._wanted():
            return replace(capture, faces=self._faces)
        self._due = now + IDLE_SECONDS
        found = self._stage(capture)
        self._faces = () if found is None else found.faces
        return found


class _Where:
    """A stage that lets captures pass as they are where a condition is not met."""

    def __init__(self, stage: Stage, condition: Callable[[Capture], bool]) -> None:
        self.name = stage.name
        self.open, self.close = stage.open, stage.close
        self._stage, self._condition = stage, condition

    def __call__(self, capture: Capture) -> Capture | None:
        return self._stage(capture) if self._condition(capture) else capture
