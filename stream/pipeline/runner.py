"""Runs a source, a chain of stages and a fan of sinks, each on its own thread, until the end.

Every call of a source, stage or sink happens on that member's own worker thread, and items go from thread to
thread; asyncio opens, watches and ends the run. What stops a run (the source's end, a duration, a count,
`Pipeline.stop`, a signal) takes the same way out: the source is told to stop, what is in flight drains,
members are closed. Only where a sink holds (see `Idles`), the run stays after the source's end until it is
stopped.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.errors import ConfigError
from stream.pipeline.heap import settle_heap
from stream.pipeline.members import SOURCE, Member, SourceMember, StageMember
from stream.pipeline.metrics import CHAIN, WINDOW, Metrics
from stream.pipeline.slot import Policy
from stream.pipeline.source import Source
from stream.pipeline.stage import Stage
from stream.pipeline.wiring import Wiring

log = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0
"""How long what is in flight may take to come out once a run was told to stop."""

STOP_SECONDS = 2.0
"""How long after being told to stop a member that does not return is left behind."""

JOIN_SECONDS = 0.5
"""How long to wait for a thread that has already done its last work."""

LAG_INTERVAL = 0.02
"""Seconds between two looks at the event loop's lag."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went.

    :ivar reason: why it ended: ``ended`` (the source), ``frames``, ``duration``, ``stopped``.
    :ivar seconds: from the first read until everything came out; what a sink held on after is not in it.
    :ivar metrics: `Metrics.snapshot` at the end.
    :ivar abandoned: members whose thread did not come back and was left behind.
    :ivar failures: a sentence for each member that failed to close, so that what it should have written
        may be missing.
    """

    reason: str
    seconds: float
    metrics: dict[str, Any]
    abandoned: tuple[str, ...]
    failures: tuple[str, ...]


class Pipeline:
    """Stages between a source and any number of sinks, in a row or in branches; runs once.

    Each stage and sink reads from its own slot of one on its own thread; branches part and meet as
    `stream.pipeline.wiring` says. A sink is a `Stage` whose result goes nowhere. Under ``latest`` a slow sink
    drops its own items and never holds up another; under ``wait``, where nothing is dropped, the slowest
    stage or sink sets the pace of all.

    The way out takes at most `STOP_SECONDS`: half of it for what is in flight to drain, the rest for the
    members to close. Only the end of the input under ``wait`` has no limit, for nothing may be lost there.

    :param policy: ``latest`` (newest wins, drops counted) or ``wait`` (nothing lost); by default
        ``latest`` for a paced source and ``wait`` for one that gives frames as fast as they are read.
    :param after: by a stage's name, the stages whose results it takes, nothing for the source's; each comes
        before it in ``stages``. Without, each stage comes after the one before it.
    :param demands: as `SourceMember`.
    :param duration: seconds after the first read at which to stop; None for no limit.
    :param frames: how many frames to read before stopping; None for no limit.
    :param warmup: forget the metrics once, when that many captures came through the stages.
    :param metrics_port: serve `/metrics` on 127.0.0.1 while it runs.
    :param window: durations the metrics keep per stage.
    :param metrics: where to count instead of in metrics of its own (``window`` and ``warmup`` are theirs).
    :param settle: see `settle_heap`; not where other runs of the process would be held up by it.
    :raises ConfigError: two members share a name or a limit is not positive.
    """

    def __init__(
        self,
        source: Source,
        stages: Sequence[Stage],
        sinks: Sequence[Stage] = (),
        policy: Policy | None = None,
        *,
        after: Mapping[str, Sequence[str]] | None = None,
        demands: Callable[[float], frozenset[str]] | None = None,
        duration: float | None = None,
        frames: int | None = None,
        warmup: int = 0,
        metrics_port: int | None = None,
        window: int = WINDOW,
        metrics: Metrics | None = None,
        settle: bool = True,
    ) -> None:
        _check_names([stage.name for stage in (*stages, *sinks)])
        _check_limits(duration, frames, warmup)
        self.metrics = metrics or Metrics(window, warmup)
        self._settle_heap = settle
        self._source = source
        self._policy: Policy = policy or ("latest" if source.paced else "wait")
        self._duration = duration
        self._reader = SourceMember(source, self.metrics, frames, demands)
        self._stopping = threading.Event()
        self._chain = [StageMember(stage, self.metrics, self._stopping) for stage in stages]
        self._sinks = [StageMember(sink, self.metrics, self._stopping, always=True) for sink in sinks]
        self._joins = Wiring(
            self._reader, self._chain, self._sinks, after or _in_a_row(stages), self._policy, self.metrics
        ).joins
        self._server = _metrics_member(self.metrics, metrics_port)
        self._moving: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_event = asyncio.Event()
        self._stop_asked = threading.Event()
        self._stopped_at = 0.0
        self._reason = "ended"
        self._error: BaseException | None = None
        self._drained_at: float | None = None
        self._abandoned: list[str] = []
        self._failures: list[str] = []

    def stop(self) -> None:
        """Ask the run to end, from any thread and at any time, also before it began; does not wait."""
        self._stop_asked.set()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(self._request_stop, "stopped")
            except RuntimeError:
                log.debug("The run ended while it was being stopped.")

    async def run(self) -> Summary:
        """Run to the end.

        :raises ProsoponError: the source or a stage could not open, or the source failed; everything
            else is closed by then. Other exceptions of an `open` come through as they are.
        """
        if self._loop is not None:
            raise RuntimeError("A Pipeline runs once; make a new one.")
        self._loop = asyncio.get_running_loop()
        if self._stop_asked.is_set():
            self._request_stop("stopped")
        lag_watch = asyncio.create_task(self._watch_lag())
        began = time.monotonic()
        try:
            await self._open()
            if self._settle_heap:
                settle_heap()
            began = time.monotonic()
            if not self._stop_event.is_set():
                await self._stream()
            self._drained()
        except BaseException:
            self._request_stop("stopped")
            raise
        finally:
            lag_watch.cancel()
            seconds = (self._drained_at or time.monotonic()) - began
            await self._close()
        if self._error is not None:
            raise self._error
        reason = "frames" if self._reason == "ended" and self._reader.full else self._reason
        return Summary(
            reason, seconds, self.metrics.snapshot(), tuple(self._abandoned), tuple(self._failures)
        )

    def _members(self) -> list[Member]:
        server = [] if self._server is None else [self._server]
        return [self._reader, *self._chain, *self._sinks, *server]

    # Opening

    async def _open(self) -> None:
        """Open the ends first, so that no model loads where there is no camera or no place to write; then the
        stages. What belongs together opens at once; the first failure stops the run."""
        await asyncio.to_thread(self._start_threads)
        stages: list[Member] = [*self._chain]
        for members in ([member for member in self._members() if member not in stages], stages):
            self._moving = opening = set()
            for member in members if not self._stop_event.is_set() else ():
                opened = asyncio.wrap_future(member.call(member.target.open))
                opened.add_done_callback(self._moved)
                opening.add(opened)
            await self._settle(opening, DRAIN_SECONDS)

    def _start_threads(self) -> None:
        for member in self._members():
            member.start()

    # Streaming

    async def _stream(self) -> None:
        """Let the threads work until the source ends or a stop is asked for, and what is in flight drain."""
        loop = asyncio.get_running_loop()
        pump = asyncio.wrap_future(self._reader.call(self._reader.pump))
        passing = [member for member in (*self._chain, *self._sinks) if not member.holds]
        holding = [loop.create_task(self._pass_and_hold(sink)) for sink in self._sinks if sink.holds]
        ending = {pump, *(asyncio.wrap_future(member.call(member.run)) for member in passing)}
        self._moving = {*ending, *holding}
        for moving in self._moving:
            moving.add_done_callback(self._moved)
        timer = None
        if self._duration is not None:
            timer = loop.call_later(self._duration, self._request_stop, "duration")
        await self._settle({pump}, DRAIN_SECONDS)
        if holding and not self._reader.full:
            await self._settle(ending, DRAIN_SECONDS)
            self._drained()
            await self._settle(self._moving, DRAIN_SECONDS)
        if timer is not None:
            timer.cancel()
        if self._policy == "latest":
            self._request_stop("ended")
        await self._settle(self._moving, DRAIN_SECONDS)

    def _drained(self) -> None:
        """Everything came out: the figures are complete."""
        if self._drained_at is None:
            self._drained_at = time.monotonic()
            self.metrics.freeze()

    def _moved(self, moving: asyncio.Future[None]) -> None:
        if not moving.cancelled() and (error := moving.exception()) is not None:
            self._fail(error)

    async def _pass_and_hold(self, sink: StageMember) -> None:
        """Let a sink run; when the source has ended by itself, idle until the sink or a stop ends it."""
        await asyncio.wrap_future(sink.call(sink.run))
        if not self._reader.full:
            await asyncio.wrap_future(sink.call(sink.hold))

    async def _watch_lag(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(LAG_INTERVAL)
            self.metrics.lag(max(0.0, time.perf_counter() - begun - LAG_INTERVAL))

    # Ending

    def _request_stop(self, reason: str) -> None:
        """Start the clock of the way out, once; on the event loop."""
        if not self._stop_event.is_set():
            self._reason = reason
            self._stopped_at = time.monotonic()
            self._stop_event.set()
            self._stopping.set()
            self._source.interrupt()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._request_stop("stopped")

    async def _settle(self, waiting: Collection[asyncio.Future[None]], seconds: float) -> None:
        """Wait for all of these; once a stop is asked for, no longer than ``seconds`` from then."""
        pending = set(waiting)
        stop = asyncio.ensure_future(self._stop_event.wait())
        while pending:
            stopping = self._stop_event.is_set()
            left = max(0.0, self._stopped_at + seconds - time.monotonic()) if stopping else None
            watched: set[asyncio.Future[Any]] = {*pending} if stopping else {*pending, stop}
            done, _ = await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            if not done:
                break
        stop.cancel()

    async def _close(self) -> None:
        """Close every member on its thread, give up on those that do not come back, end the threads."""
        self._source.interrupt()
        for stage in (*self._chain, *self._sinks):
            stage.outlet.close()
        for join in self._joins:
            join.close()
        # A thread that is still busy gets to its close right after its work.
        closing = {
            member: asyncio.wrap_future(member.call(member.target.close)) for member in self._members()
        }
        await self._settle([*self._moving, *closing.values()], STOP_SECONDS)
        for member, closed in closing.items():
            self._dismiss(member, closed)
        for moving in self._moving:
            moving.cancel()

    def _dismiss(self, member: Member, closed: asyncio.Future[None]) -> None:
        if not closed.done():
            self._abandoned.append(member.name)
            log.error(
                "%s did not stop within %g s; its thread is left behind until it comes back or the "
                "program ends.", member.name, STOP_SECONDS,
            )  # fmt: skip
            closed.cancel()
        elif (error := closed.exception()) is not None:
            self._failures.append(f"{member.name} failed to close: {type(error).__name__}: {error}")
            log.warning("%s", self._failures[-1])
        member.dismiss(JOIN_SECONDS if member.name not in self._abandoned else 0.0)


def _check_names(names: list[str]) -> None:
    taken = {SOURCE, CHAIN}
    for name in names:
        if name in taken:
            raise ConfigError(f"Two parts of the pipeline are called {name!r}; give one another name.")
        taken.add(name)


def _in_a_row(stages: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    return {stage.name: (before.name,) for before, stage in itertools.pairwise(stages)}


def _check_limits(duration: float | None, frames: int | None, warmup: int) -> None:
    if duration is not None and not 0 < duration < math.inf:
        raise ConfigError(f"The duration is {duration} s but must be above 0 and finite.")
    if frames is not None and frames < 1:
        raise ConfigError(f"The number of frames is {frames} but must be at least 1.")
    if warmup < 0:
        raise ConfigError(f"The warm-up is {warmup} frames but must not be negative.")


def _metrics_member(metrics: Metrics, port: int | None) -> Member | None:
    if port is None:
        return None
    from stream.pipeline.prometheus import MetricsServer  # only where it is asked for: the import is slow

    server = MetricsServer(metrics, port)
    return Member(server.name, server)
