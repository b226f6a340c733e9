"""`/metrics`: the same numbers as the snapshot, in a format Prometheus's own parser reads."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.errors import ConfigError
from stream.pipeline.metrics import CHAIN, Metrics
from stream.pipeline.prometheus import MetricsServer


def scrape(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_serves_totals_and_stops() -> None:
    metrics = Metrics()
    metrics.done("face", 0.0015)
    metrics.done("face", 0.5)
    metrics.drop("face", 3)
    metrics.error("face")
    metrics.latency(CHAIN, 0.015)
    metrics.lag(0.004)
    metrics.reset()
    before = threading.active_count()
    server = MetricsServer(metrics, 0)
    server.open()
    try:
        values = scrape(server.port)
    finally:
        server.close()
    face = (("stage", "face"),)
    assert values["prosopon_frames_total", face] == 2
    assert values["prosopon_dropped_total", face] == 3
    assert values["prosopon_errors_total", face] == 1
    assert values["prosopon_stage_seconds_count", face] == 2
    assert values["prosopon_stage_seconds_sum", face] == pytest.approx(0.5015)
    assert values["prosopon_stage_seconds_bucket", (("le", "0.002"), *face)] == 1
    assert values["prosopon_stage_seconds_bucket", (("le", "+Inf"), *face)] == 2
    assert values["prosopon_latency_seconds_count", (("output", CHAIN),)] == 1
    with pytest.raises(urllib.error.URLError):
        scrape(server.port)
    assert threading.active_count() <= before
    server.close()


def test_a_taken_port_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--metrics-port"):
            MetricsServer(Metrics(), taken.getsockname()[1]).open()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_a_sentence(port: int) -> None:
    with pytest.raises(ConfigError, match="between 0 and 65535"):
        MetricsServer(Metrics(), port).open()
