"""`/metrics`: the figures of pipelines in Prometheus's text format; of one alone, for this machine only."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from stream.errors import ConfigError
from stream.pipeline.metrics import BUCKETS, Metrics, Totals

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

ADDRESS = "127.0.0.1"

Labels = tuple[str, ...]
"""The values of a series' labels."""


class MetricsServer:
    """Serves a `Metrics` at ``http://127.0.0.1:<port>/metrics`` between `open` and `close`.

    :param port: 0 lets the system choose; `port` then tells which.
    """

    name = "metrics"

    def __init__(self, metrics: Metrics, port: int) -> None:
        self.port = port
        self._metrics = metrics
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start serving on a thread of its own.

        :raises ConfigError: the port is out of range, taken, or not allowed.
        """
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--metrics-port is {self.port} but must be between 0 and 65535.")
        # A registry of its own: the default one would add this process's figures and outlive the run.
        registry = CollectorRegistry()
        registry.register(_Collector(self._metrics))
        try:
            self._server, self._thread = start_http_server(self.port, addr=ADDRESS, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"Cannot serve metrics on {ADDRESS}:{self.port} ({error.strerror}); "
                "choose another port with --metrics-port."
            ) from error
        self.port = self._server.server_port

    def close(self) -> None:
        """Stop serving and free the port; harmless when not open."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None


class _Collector:
    """Turns `Metrics.totals` into metric families whenever Prometheus asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from families({"": self._metrics}, by_session=False)
        yield lag_gauge(self._metrics)


def families(metrics: Mapping[str, Metrics], by_session: bool = True) -> Iterator[Metric]:
    """The metric families of one or several pipelines.

    :param metrics: by session.
    :param by_session: give each series the session's name as a second label; otherwise there is one pipeline.
    """
    totals = {session: each.totals()[:2] for session, each in metrics.items()}
    extra = ["session"] if by_session else []
    stages: dict[Labels, Totals] = {}
    outputs: dict[Labels, Totals] = {}
    for session, parts in totals.items():
        end = (session,) if by_session else ()
        for series, part in zip((stages, outputs), parts, strict=True):
            series.update({(name, *end): total for name, total in part.items()})
    labels = ["stage", *extra]
    yield _counter("frames", "Items a stage finished.", labels, {key: s.count for key, s in stages.items()})
    yield _counter(
        "dropped", "Items a stage never read.", labels, {key: s.drops for key, s in stages.items()}
    )
    yield _counter("errors", "Items a stage failed on.", labels, {key: s.errors for key, s in stages.items()})
    yield _histogram("stage_seconds", "Time of one item in a stage.", labels, stages)
    yield _histogram("latency_seconds", "Capture to output.", ["output", *extra], outputs)


def lag_gauge(metrics: Metrics) -> Metric:
    """The event loop's lag."""
    return GaugeMetricFamily(
        "prosopon_loop_lag_seconds", "Worst recent event-loop lag.", value=metrics.totals()[2]
    )


def _counter(name: str, text: str, labels: list[str], values: dict[Labels, int]) -> Metric:
    family = CounterMetricFamily(f"prosopon_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: list[str], series: dict[Labels, Totals]) -> Metric:
    family = HistogramMetricFamily(f"prosopon_{name}", text, labels=labels)
    bounds = [str(bound) for bound in BUCKETS] + ["+Inf"]
    for key, totals in series.items():
        cumulated = 0
        buckets = []
        for bound, count in zip(bounds, totals.buckets, strict=True):
            cumulated += count
            buckets.append((bound, cumulated))
        family.add_metric(key, buckets=buckets, sum_value=totals.seconds)
    return family
