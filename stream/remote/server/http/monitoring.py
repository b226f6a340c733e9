"""What the server tells of itself: Prometheus's figures, and log lines as text or JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from stream.pipeline.metrics import Metrics
from stream.pipeline.prometheus import families, lag_gauge

LAG_INTERVAL = 0.02
"""Seconds between two looks at the event loop's lag."""

_PLAIN = frozenset(vars(logging.makeLogRecord({})))
"""What every log record has; the rest are fields that a line was given."""


class LoopWatch:
    """Measures how late the event loop wakes, until it is cancelled.

    :ivar metrics: where the lag goes.
    """

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def run(self) -> None:
        """Look forever."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(LAG_INTERVAL)
            self.metrics.lag(max(0.0, time.perf_counter() - begun - LAG_INTERVAL))


def write_metrics(
    sessions: Mapping[str, Metrics], listing: Sequence[Mapping[str, Any]], server: Metrics, accept: str
) -> tuple[bytes, str]:
    """The figures as Prometheus reads them, and their content type; takes milliseconds, so on a thread.

    :param sessions: by name.
    :param listing: `SessionHub.listing`.
    :param server: with the event loop's lag.
    :param accept: the request's Accept header.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(sessions, listing, server))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


@dataclass(frozen=True, eq=False)
class _Collector:
    sessions: Mapping[str, Metrics]
    listing: Sequence[Mapping[str, Any]]
    server: Metrics

    def collect(self) -> Iterator[Metric]:
        yield from families(self.sessions)
        yield GaugeMetricFamily("prosopon_sessions", "Sessions.", value=len(self.listing))
        viewers = GaugeMetricFamily("prosopon_viewers", "Viewers of a session.", labels=["session"])
        for session in self.listing:
            viewers.add_metric([session["name"]], session["viewers"])
        yield viewers
        yield lag_gauge(self.server)


class LineFormatter(logging.Formatter):
    """One log line as text or as a JSON object, with the fields that it was given as ``extra``.

    :param as_json: ``{"time": ..., "level": ..., "logger": ..., "message": ..., FIELD: ...}``.
    """

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {key: value for key, value in vars(record).items() if key not in _PLAIN}
        fields.pop("message", None)
        line = {
            "time": when,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(line, default=str)
        shown = " ".join(f"{key}={value}" for key, value in fields.items() if value is not None)
        text = f"{when} {record.levelname.lower()} {record.getMessage()}" + (f" ({shown})" if shown else "")
        # A line break in a value could forge a line of its own.
        text = text.replace("\r", "\\r").replace("\n", "\\n")
        return text + ("\n" + line["traceback"] if record.exc_info else "")


def log_to_stderr(form: str, debug: bool = False) -> None:
    """Write this package's lines to standard error, those of libraries only from warnings on.

    :param form: ``text`` or ``json``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(form == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("stream").setLevel(logging.DEBUG if debug else logging.INFO)
