"""Metrics: percentiles, rates, drops and their reset, against numbers computed another way."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.pipeline.metrics import BUCKETS, CHAIN, Metrics, percentiles_ms


class Clock:
    """A clock the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def linear(values: list[float], percent: float) -> float:
    """The textbook linear interpolation between closest ranks."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_percentiles_are_linearly_interpolated_milliseconds(seconds: list[float]) -> None:
    shown = percentiles_ms(np.array(seconds))
    for key, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert shown[key] == pytest.approx(linear(seconds, percent) * 1e3, abs=1e-6)


def test_nothing_measured_is_none_and_goes_into_json() -> None:
    metrics = Metrics()
    metrics.add_stage("face")
    shown = json.loads(json.dumps(metrics.snapshot()))
    assert shown["stages"]["face"] == {
        "p50": None, "p95": None, "p99": None, "rate": 0.0, "count": 0, "drops": 0, "errors": 0,
    }  # fmt: skip
    assert shown["latency_ms"] == {"p50": None, "p95": None, "p99": None}
    assert shown["loop_lag_ms"] == {"max": None, "p99": None}
    assert (shown["drops"], shown["fps"], shown["outputs"]) == (0, 0.0, {})


def test_rate_is_items_per_second_and_falls_when_they_stop_coming() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    for _ in range(31):
        metrics.done("face", 0.001)
        metrics.latency(CHAIN, 0.02)
        clock.now += 1 / 30
    assert metrics.snapshot()["stages"]["face"]["rate"] == pytest.approx(30)
    assert metrics.snapshot()["fps"] == pytest.approx(30)
    clock.now += 3
    stalled = metrics.snapshot()["fps"]
    assert stalled < 11
    metrics.freeze()
    clock.now += 1000
    assert metrics.snapshot()["fps"] == stalled


def test_the_window_keeps_the_newest() -> None:
    clock = Clock()
    metrics = Metrics(window=4, clock=clock)
    for number in range(10):
        metrics.done("depth", float(number))
        clock.now += 0.5
    shown = metrics.snapshot()["stages"]["depth"]
    assert shown["p50"] == pytest.approx(np.median([6, 7, 8, 9]) * 1e3)
    assert shown["count"] == 10
    assert shown["rate"] == pytest.approx(2)


def test_reset_forgets_the_warm_up_but_not_the_totals() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.done("face", 9.0)
        metrics.drop("face", 2)
    assert metrics.error("face") == 1
    metrics.reset()
    metrics.done("face", 0.001)
    assert metrics.error("face") == 1
    shown = metrics.snapshot()
    assert shown["stages"]["face"]["p99"] == pytest.approx(1.0)
    assert (shown["stages"]["face"]["count"], shown["drops"]) == (1, 0)
    stages, _, _ = metrics.totals()
    assert (stages["face"].count, stages["face"].drops, stages["face"].errors) == (4, 6, 2)
    assert stages["face"].seconds == pytest.approx(27.001)


def test_the_warm_up_resets_once_by_itself() -> None:
    metrics = Metrics(warmup=2)
    for expected in (1, 0, 1, 2, 3):
        metrics.done("face", 0.1)
        metrics.latency(CHAIN, 0.1)
        assert metrics.snapshot()["stages"]["face"]["count"] == expected


def test_untimed_items_count_but_have_no_percentiles() -> None:
    metrics = Metrics()
    metrics.done("source", None)
    shown = metrics.snapshot()["stages"]["source"]
    assert (shown["count"], shown["p50"]) == (1, None)


def test_buckets_hold_every_duration_once() -> None:
    metrics = Metrics()
    for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, 99.0):
        metrics.done("x", seconds)
    buckets = metrics.totals()[0]["x"].buckets
    assert (buckets[0], buckets[1], buckets[-1], sum(buckets)) == (2, 1, 1, 4)


def test_loop_lag_and_outputs_are_shown() -> None:
    metrics = Metrics()
    for lag in (0.001, 0.003):
        metrics.lag(lag)
    metrics.latency("window", 0.04)
    shown = metrics.snapshot()
    assert shown["loop_lag_ms"]["max"] == pytest.approx(3)
    assert shown["loop_lag_ms"]["p99"] == pytest.approx(2.98)
    assert shown["outputs"]["window"]["p50"] == pytest.approx(40)


def test_threads_lose_no_count() -> None:
    metrics = Metrics(window=16)

    def work() -> None:
        for _ in range(500):
            metrics.done("a", 0.001)
            metrics.drop("a")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        metrics.snapshot()
        thread.join()
    assert metrics.snapshot()["stages"]["a"]["count"] == 2000
    assert metrics.snapshot()["drops"] == 2000
