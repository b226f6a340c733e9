"""The one set of figures that the live panel, the JSON file, the benchmark and `/metrics` all read."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.types import Array

WINDOW = 2048
"""Durations kept per series for percentiles and rates: about a minute at 30 fps."""

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.033, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Upper bounds of the histograms' buckets, seconds; one more, unbounded, follows."""

CHAIN = "chain"
"""The output that stands for the end of the stages, before any sink."""

RATE_PATIENCE = 1.0
"""A series silent for longer than this, seconds, has its rate fall instead of showing the last one."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a series saw since the start, resets included: the kind of number Prometheus wants.

    :ivar count, drops, errors: items done, dropped before they were read, and failed.
    :ivar seconds: sum of the durations.
    :ivar buckets: how many durations fell into each of `BUCKETS` and beyond the last, not cumulated.
    """

    count: int
    drops: int
    errors: int
    seconds: float
    buckets: tuple[int, ...]


class _Series:
    """Durations and events of one stage or output; the caller holds the lock."""

    def __init__(self, window: int) -> None:
        self.count = self.drops = self.errors = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self._durations: Array = np.zeros(window)
        self._times: Array = np.zeros(window)
        self.reset()

    def reset(self) -> None:
        self._base = (self.count, self.drops, self.errors)
        self._timed = 0

    def add(self, seconds: float | None, now: float) -> None:
        self._times[self._done % len(self._times)] = now
        self.count += 1
        if seconds is not None:
            self._durations[self._timed % len(self._durations)] = seconds
            self._timed += 1
            self.seconds += seconds
            self.buckets[bisect_left(BUCKETS, seconds)] += 1

    @property
    def _done(self) -> int:
        return self.count - self._base[0]

    def rate(self, now: float) -> float:
        """Items per second over the window, 0 before the second one."""
        kept = min(self._done, len(self._times))
        if kept < 2:
            return 0.0
        last = self._times[(self._done - 1) % len(self._times)]
        first = self._times[(self._done - kept) % len(self._times)]
        span = max(last, now - RATE_PATIENCE) - first
        return float((kept - 1) / span) if span > 0 else 0.0

    def durations(self) -> Array:
        return self._durations[: min(self._timed, len(self._durations))].copy()

    def since_reset(self) -> dict[str, int]:
        count, drops, errors = self._base
        return {"count": self.count - count, "drops": self.drops - drops, "errors": self.errors - errors}

    def totals(self) -> Totals:
        return Totals(self.count, self.drops, self.errors, self.seconds, tuple(self.buckets))


class Metrics:
    """Counts and times what a pipeline does; any thread may write or read, in microseconds.

    :param window: the newest durations kept per series. Memory does not grow with time.
    :param warmup: `reset` by itself, once, when that many items came to the end of the stages.
    :param clock: seconds, monotonic; for tests.
    """

    def __init__(
        self, window: int = WINDOW, warmup: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._window = window
        self._warmup = warmup
        self._clock = clock
        self._lock = threading.Lock()
        self._stages: dict[str, _Series] = {}
        self._outputs: dict[str, _Series] = {}
        self._lag = _Series(window)
        self._ended: float | None = None

    def add_stage(self, name: str) -> None:
        """Show this stage, in the order of adding, even before its first item."""
        with self._lock:
            self._stages.setdefault(name, _Series(self._window))

    def done(self, stage: str, seconds: float | None) -> None:
        """A stage finished an item; ``seconds`` is None where the time says nothing (a paced source)."""
        now = self._clock()
        with self._lock:
            self._series(self._stages, stage).add(seconds, now)

    def drop(self, stage: str, count: int = 1) -> None:
        """Items that this stage would have read were lost."""
        with self._lock:
            self._series(self._stages, stage).drops += count

    def error(self, stage: str) -> int:
        """A stage raised; gives how often it has since the last reset."""
        with self._lock:
            series = self._series(self._stages, stage)
            series.errors += 1
            return series.since_reset()["errors"]

    def latency(self, output: str, seconds: float) -> None:
        """An item reached an output (`CHAIN` or a sink) ``seconds`` after its capture."""
        now = self._clock()
        with self._lock:
            self._series(self._outputs, output).add(seconds, now)
            if output == CHAIN and self._warmup > 0:
                self._warmup -= 1
                if self._warmup == 0:
                    self._reset()

    def lag(self, seconds: float) -> None:
        """The event loop woke this much later than asked."""
        now = self._clock()
        with self._lock:
            self._lag.add(seconds, now)

    def reset(self) -> None:
        """Forget everything a snapshot shows, as after the warm-up; `totals` go on."""
        with self._lock:
            self._reset()

    def freeze(self) -> None:
        """The run is over: rates no longer fall as time passes."""
        with self._lock:
            self._ended = self._clock()

    def snapshot(self) -> dict[str, Any]:
        """The figures since the last reset as a plain dict, ready for JSON.

        ``{"stages": {name: {p50, p95, p99, rate, drops, errors, count}}, "latency_ms": {p50, p95, p99},
        "outputs": {sink: {p50, p95, p99}}, "drops": n, "fps": rate, "loop_lag_ms": {max, p99}}``

        Percentiles are in milliseconds over the window, by numpy's linear interpolation, and None where
        nothing was measured; rates per second; ``latency_ms`` is capture to the end of the stages,
        ``outputs`` capture to the end of each sink; ``drops`` sums all stages, source and sinks included.
        """
        with self._lock:
            now = self._ended if self._ended is not None else self._clock()
            stages = {
                name: (series.durations(), {"rate": series.rate(now), **series.since_reset()})
                for name, series in self._stages.items()
            }
            outputs = {name: series.durations() for name, series in self._outputs.items()}
            chain = self._outputs.get(CHAIN)
            fps = chain.rate(now) if chain else 0.0
            lag = self._lag.durations()
        shown = {name: {**percentiles_ms(durations), **rest} for name, (durations, rest) in stages.items()}
        return {
            "stages": shown,
            "latency_ms": percentiles_ms(outputs.pop(CHAIN, np.empty(0))),
            "outputs": {name: percentiles_ms(durations) for name, durations in outputs.items()},
            "drops": sum(int(stage["drops"] or 0) for stage in shown.values()),
            "fps": fps,
            "loop_lag_ms": {
                "max": float(lag.max()) * 1e3 if lag.size else None,
                "p99": percentiles_ms(lag)["p99"],
            },
        }

    def totals(self) -> tuple[dict[str, Totals], dict[str, Totals], float]:
        """Since the start: by stage, by output, and the window's worst event-loop lag in seconds."""
        with self._lock:
            stages = {name: series.totals() for name, series in self._stages.items()}
            outputs = {name: series.totals() for name, series in self._outputs.items()}
            return stages, outputs, float(self._lag.durations().max(initial=0.0))

    def _reset(self) -> None:
        for series in (*self._stages.values(), *self._outputs.values(), self._lag):
            series.reset()

    def _series(self, group: dict[str, _Series], name: str) -> _Series:
        if name not in group:
            group[name] = _Series(self._window)
        return group[name]


def percentiles_ms(seconds: Array) -> dict[str, float | None]:
    """p50, p95 and p99 in milliseconds of (N,) durations in seconds; None each where N is 0."""
    if not seconds.size:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99]) * 1e3
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
