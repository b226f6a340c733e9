"""CPU and memory of this process, watched from a thread while something runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType

import psutil

INTERVAL = 0.1
"""Seconds between two looks; one takes about 50 microseconds."""


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process used.

    :ivar cpu_percent: of one core, mean over the time watched (200 = two cores busy).
    :ivar peak_rss_mb: largest resident set seen, MiB.
    :ivar first_rss_mb, last_rss_mb: at the beginning and end, MiB.
    """

    cpu_percent: float
    peak_rss_mb: float
    first_rss_mb: float
    last_rss_mb: float


class UsageWatch:
    """Watches from `begin` until the ``with`` block ends::

    with UsageWatch() as watch:
        ...warm up...
        watch.begin()
        ...
    watch.usage
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self.usage = ProcessUsage(0.0, 0.0, 0.0, 0.0)

    def __enter__(self) -> UsageWatch:
        self._thread.start()
        return self

    def begin(self) -> None:
        """Count from now on; further calls change nothing."""
        self._begun.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._begun.set()
        self._thread.join()

    def _watch(self) -> None:
        self._begun.wait()
        self._process.cpu_percent()
        first = peak = last = self._rss_mb()
        while not self._ended.wait(INTERVAL):
            last = self._rss_mb()
            peak = max(peak, last)
        self.usage = ProcessUsage(self._process.cpu_percent(), peak, first, last)

    def _rss_mb(self) -> float:
        return float(self._process.memory_info().rss) / 2**20
