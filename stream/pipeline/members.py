"""The parts of a running pipeline: each with its own worker thread, stages also with where they
read and write."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from stream.pipeline.metrics import Metrics
from stream.pipeline.slot import END, Inlet, Outlet, Policy, Slot
from stream.pipeline.source import Source
from stream.pipeline.stage import Idles, Stage
from stream.pipeline.worker import Worker
from stream.types import Capture

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

SOURCE = "source"
"""The source's name in the metrics, whatever it is."""

IDLE_SECONDS = 0.05
"""How long nothing must come before a stage that can idle does so, and again."""

LOG_INTERVAL = 1.0
"""Seconds between two messages about the same failing stage."""


class Openable(Protocol):
    """What a source, a stage and the metrics server have in common."""

    def open(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Item:
    """A capture on its way.

    :ivar started: when its latency began, seconds on `time.monotonic`'s clock.
    :ivar steps: names of the stages that work on it; the others let it pass. None: all do.
    :ivar failed: a stage of its branch failed; it goes along only so that the branches stay in step.
    """

    capture: Capture
    started: float
    steps: frozenset[str] | None = None
    failed: bool = False


class Member:
    """Anything that is opened and closed with the run, on a thread of its own."""

    def __init__(self, name: str, target: Openable) -> None:
        self.name = name
        self.target = target
        self._worker: Worker | None = None

    def start(self) -> None:
        """Start the member's thread, which may have to wait for those that are busy."""
        if self._worker is None:
            self._worker = Worker(self.name)

    def call(self, function: Callable[..., ResultT], *args: Any) -> Future[ResultT]:
        """Run something on the member's thread, which starts with the first call at the latest."""
        self.start()
        assert self._worker is not None
        return self._worker.submit(function, *args)

    def dismiss(self, wait: float) -> None:
        """Let the thread end after its work, and wait that many seconds for it."""
        if self._worker is not None:
            self._worker.stop()
            self._worker.join(wait)


class SourceMember(Member):
    """The source, with what it writes to.

    :param frames: how many to read at most, or None.
    :param demands: says, of a frame that comes at that time, which stages are to work on it; None: all.
    :ivar full: True once that many were read.
    :ivar ends: `CHAIN` where no stage follows.
    """

    def __init__(
        self,
        source: Source,
        metrics: Metrics,
        frames: int | None,
        demands: Callable[[float], frozenset[str]] | None = None,
    ) -> None:
        super().__init__(SOURCE, source)
        metrics.add_stage(SOURCE)
        self.outputs: list[Inlet[Item]] = []
        self.ends: str | None = None
        self.full = False
        self._source = source
        self._metrics = metrics
        self._frames = frames
        self._demands = demands

    def pump(self) -> None:
        """Read, on the member's thread, until the source ends or was interrupted."""
        expected = taken = 0
        try:
            while not self.full and (item := self._read()) is not None:
                index = item.capture.frame.index
                # What the source skipped by itself shows as a gap in its count; it may come back to a frame.
                self._metrics.drop(SOURCE, max(0, index - expected))
                expected = max(expected, index + 1)
                for inlet in self.outputs:
                    inlet.put(item)
                taken += 1
                self.full = taken == self._frames
        finally:
            for inlet in self.outputs:
                inlet.end()

    def _read(self) -> Item | None:
        begun = time.monotonic()
        taken = self._source.read()
        if taken is None:
            return None
        capture = taken if isinstance(taken, Capture) else Capture(taken)
        now = time.monotonic()
        self._metrics.done(SOURCE, None if self._source.paced else now - begun)
        started = capture.frame.captured if self._source.paced else now
        if self.ends is not None:
            self._metrics.latency(self.ends, now - started)
        return Item(capture, started, None if self._demands is None else self._demands(now))


class StageMember(Member):
    """A stage or sink with what it reads from and writes to.

    :param stopping: set once the run is to end: it does not idle any more.
    :param always: it takes every item, whatever is wanted of it: a sink.
    :ivar ends: the output whose latency ends with this stage (`CHAIN` or the sink's name), if any.
    :ivar forwards_failures: an item that failed goes on, for a join that waits for it.
    """

    def __init__(
        self, stage: Stage, metrics: Metrics, stopping: threading.Event, always: bool = False
    ) -> None:
        super().__init__(stage.name, stage)
        metrics.add_stage(stage.name)
        self.outlet: Outlet[Item] = Slot()
        self.outputs: list[Inlet[Item]] = []
        self.ends: str | None = None
        self.forwards_failures = False
        self._stage, self._stopping, self._always = stage, stopping, always
        self._metrics = metrics
        self._silent_until = 0.0

    def take_from_slot(self, policy: Policy) -> Slot[Item]:
        """Read from a slot of its own, which it gives."""
        slot: Slot[Item] = Slot(policy, lambda item: self._metrics.drop(self.name))
        self.outlet = slot
        return slot

    def run(self) -> None:
        """Work on what comes, on the member's thread, until no more will; while nothing comes, idle."""
        waits = IDLE_SECONDS if isinstance(self._stage, Idles) else None
        try:
            while (item := self.outlet.get(waits)) is not END:
                if item is None:
                    self._idle()
                    continue
                result = self._passed(item) if self._skips(item) else self._process(item)
                if not result.failed or self.forwards_failures:
                    for inlet in self.outputs:
                        inlet.put(result)
                del item, result  # or they would live on while nothing comes
        finally:
            self.outlet.close()
            for inlet in self.outputs:
                inlet.end()

    def hold(self) -> None:
        """Idle, on the member's thread, until the stage does not hold any more or a stop is asked for."""
        while self.holds and not self._stopping.is_set():
            self._idle()
            self._stopping.wait(IDLE_SECONDS)

    @property
    def holds(self) -> bool:
        """Whether it wants to stay when the source has ended by itself (see `Idles`)."""
        return isinstance(self._stage, Idles) and self._stage.holds

    def _skips(self, item: Item) -> bool:
        """Whether it has nothing to do with an item: it failed before, or nobody wants the stage's work."""
        wanted = self._always or item.steps is None or self.name in item.steps
        return item.failed or not wanted

    def _passed(self, item: Item) -> Item:
        """The item as it comes out where `_skips`."""
        if self.ends is not None and not item.failed:
            self._metrics.latency(self.ends, time.monotonic() - item.started)
        return item

    def _process(self, item: Item) -> Item:
        """Run the stage on one item; a failure is counted and ends the item's way."""
        begun = time.perf_counter()
        try:
            capture = self._stage(item.capture)
        except Exception as error:
            self._failed(f"on frame {item.capture.frame.index}", error)
            return replace(item, failed=True)
        seconds = time.perf_counter() - begun
        self._metrics.done(self.name, seconds)
        if capture is None:
            return replace(item, failed=True)
        if self.ends is not None:
            self._metrics.latency(self.ends, time.monotonic() - item.started)
        return replace(item, capture=replace(capture, steps={**capture.steps, self.name: seconds}))

    def _idle(self) -> None:
        """Let the stage idle; a failure is counted."""
        if self._stopping.is_set() or not isinstance(self._stage, Idles):
            return
        try:
            self._stage.idle()
        except Exception as error:
            self._failed("while idle", error)

    def _failed(self, when: str, error: Exception) -> None:
        count = self._metrics.error(self.name)
        log.debug("Stage %s failed.", self.name, exc_info=error)
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + LOG_INTERVAL
            log.warning(
                "Stage %s failed %s (%d so far): %s: %s", self.name, when, count, type(error).__name__, error
            )
