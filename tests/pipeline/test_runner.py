"""The runner: where items go, what is counted, and that every way out leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import psutil
import pytest
from pipeline.pipeline_helpers import FakeStage, IdleStage, ListSource, failing_on, sleeping, wait_until

from stream.errors import ConfigError, SourceError
from stream.pipeline import runner
from stream.pipeline.members import IDLE_SECONDS
from stream.pipeline.run import run_pipeline
from stream.pipeline.runner import STOP_SECONDS, Pipeline, Summary
from stream.types import Capture


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Every test also checks that no thread and no file descriptor stays."""
    threads, descriptors = set(threading.enumerate()), psutil.Process().num_fds()
    yield
    wait_until(lambda: set(threading.enumerate()) <= threads)
    wait_until(lambda: psutil.Process().num_fds() <= descriptors)


def run(*args: Any, **kwargs: Any) -> Summary:
    return run_pipeline(Pipeline(*args, **kwargs))


def run_with_stop(pipeline: Pipeline, after: float) -> Summary:
    """Run, and call `stop` from another thread after some seconds."""
    timer = threading.Timer(after, pipeline.stop)
    timer.start()
    try:
        return run_pipeline(pipeline)
    finally:
        timer.join()


# Where items go


def test_a_chain_and_a_fan_see_every_frame_in_order_when_nothing_may_be_lost() -> None:
    first, second = FakeStage("first"), FakeStage("second", sleeping(0.001))
    quick, slow = FakeStage("quick"), FakeStage("slow", sleeping(0.004))
    source = ListSource(50)
    summary = run(source, [first, second], [quick, slow])
    for stage in (first, second, quick, slow):
        assert stage.seen == list(range(50))
        assert (stage.opened, stage.closed) == (1, 1)
    assert summary.reason == "ended"
    assert summary.metrics["drops"] == 0
    assert source.closed == 1


def test_each_stage_lives_on_one_thread_of_its_own() -> None:
    stages = [FakeStage("a"), FakeStage("b")]
    sink = FakeStage("c")
    run(ListSource(5), stages, [sink])
    assert [stage.threads for stage in (*stages, sink)] == [{"prosopon-a"}, {"prosopon-b"}, {"prosopon-c"}]


def test_the_time_of_each_stage_travels_with_the_capture() -> None:
    sink = FakeStage("sink")
    run(ListSource(3), [FakeStage("a", sleeping(0.01)), FakeStage("b")], [sink])
    for capture in sink.captures:
        assert list(capture.steps) == ["a", "b"]
        assert capture.steps["a"] >= 0.01 > capture.steps["b"] >= 0


def test_what_a_stage_adds_reaches_the_sink_and_the_source_stays_untouched() -> None:
    sink = FakeStage("sink")
    run(ListSource(2), [FakeStage("draw", lambda c: replace(c, picture=c.frame.image + 9))], [sink])
    pictures: list[Any] = [capture.picture for capture in sink.captures]
    assert [int(picture[0, 0, 0]) for picture in pictures] == [9, 9]
    assert all(capture.frame.image.max() == 0 for capture in sink.captures)


def test_none_ends_a_captures_way() -> None:
    even = FakeStage("even", lambda capture: capture if capture.frame.index % 2 == 0 else None)
    sink = FakeStage("sink")
    summary = run(ListSource(10), [even], [sink])
    assert sink.seen == [0, 2, 4, 6, 8]
    assert summary.metrics["stages"]["even"]["count"] == 10


def test_offline_the_slowest_sink_sets_the_pace_of_all() -> None:
    slow, quick = FakeStage("slow", sleeping(0.02)), FakeStage("quick")
    apart: list[int] = []
    watch = FakeStage("watch", lambda capture: apart.append(capture.frame.index - len(slow.seen)) or capture)
    summary = run(ListSource(30), [], [slow, quick, watch])
    assert slow.seen == quick.seen == watch.seen == list(range(30))
    assert max(apart) <= 3  # what fits between them: in work, in the slot, and on its way
    assert summary.metrics["drops"] == 0


def test_sinks_alone_and_stages_alone_run() -> None:
    sink, stage = FakeStage("sink"), FakeStage("stage")
    assert run(ListSource(4), [], [sink]).metrics["latency_ms"]["p50"] is not None
    run(ListSource(4), [stage])
    assert sink.seen == stage.seen == [0, 1, 2, 3]


# What is counted


def test_offered_is_done_plus_dropped_with_a_slow_stage() -> None:
    slow, sink = FakeStage("slow", sleeping(0.02)), FakeStage("sink")
    summary = run(ListSource(200, paced=True, every=0.001), [slow], [sink])
    stages = summary.metrics["stages"]
    assert stages["source"]["count"] == 200
    assert stages["slow"]["drops"] > 0
    assert stages["slow"]["count"] + stages["slow"]["drops"] == 200
    assert stages["sink"]["count"] + stages["sink"]["drops"] == stages["slow"]["count"]
    assert summary.metrics["drops"] == stages["slow"]["drops"] + stages["sink"]["drops"]
    assert slow.seen == sorted(set(slow.seen))
    assert slow.seen[-1] == 199


def test_a_slow_sink_drops_its_own_and_does_not_slow_the_others() -> None:
    slow, quick = FakeStage("slow", sleeping(0.03)), FakeStage("quick")
    summary = run(ListSource(40, paced=True, every=0.005), [FakeStage("a")], [slow, quick])
    stages = summary.metrics["stages"]
    assert stages["slow"]["drops"] > 0
    assert stages["slow"]["count"] + stages["slow"]["drops"] == stages["a"]["count"]
    assert stages["quick"]["drops"] < stages["slow"]["drops"]
    assert len(quick.seen) > len(slow.seen)


def test_what_the_source_skipped_counts_as_its_drops() -> None:
    summary = run(ListSource(indices=[0, 1, 4, 5, 9]), [FakeStage("a")])
    assert summary.metrics["stages"]["source"]["drops"] == 5
    assert summary.metrics["stages"]["source"]["count"] == 5


def test_a_thousand_items_all_arrive() -> None:
    sink = FakeStage("sink")
    summary = run(ListSource(1000), [FakeStage("a"), FakeStage("b"), FakeStage("c")], [sink])
    assert sink.seen == list(range(1000))
    assert summary.metrics["stages"]["sink"]["count"] == 1000


def test_a_failing_stage_is_counted_and_the_stream_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    bad, sink = FakeStage("bad", failing_on(*range(3, 50, 2))), FakeStage("sink")
    with caplog.at_level(logging.WARNING):
        summary = run(ListSource(60), [bad], [sink])
    expected = [index for index in range(60) if index not in range(3, 50, 2)]
    assert sink.seen == expected
    stage = summary.metrics["stages"]["bad"]
    assert (stage["errors"], stage["count"]) == (60 - len(expected), len(expected))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["Stage bad failed on frame 3 (1 so far): ValueError: frame 3 is bad"]


def test_a_failing_sink_is_counted_too() -> None:
    bad, good = FakeStage("bad", failing_on(1, 2)), FakeStage("good")
    summary = run(ListSource(5), [], [bad, good])
    assert summary.metrics["stages"]["bad"]["errors"] == 2
    assert good.seen == [0, 1, 2, 3, 4]


def test_latency_runs_from_the_capture_to_each_output() -> None:
    summary = run(ListSource(20), [FakeStage("a", sleeping(0.01))], [FakeStage("sink", sleeping(0.005))])
    latency, sink = summary.metrics["latency_ms"]["p50"], summary.metrics["outputs"]["sink"]["p50"]
    assert latency >= 10
    assert latency + 5 <= sink + 1
    assert summary.metrics["fps"] > 0


def test_loop_lag_is_watched() -> None:
    summary = run(ListSource(20, paced=True, every=0.01), [FakeStage("a", sleeping(0.005))])
    assert 0 <= summary.metrics["loop_lag_ms"]["p99"] <= summary.metrics["loop_lag_ms"]["max"]


def test_the_warm_up_is_forgotten() -> None:
    def work(capture: Capture) -> Capture:
        time.sleep(0.05 if capture.frame.index < 5 else 0.0)
        return capture

    summary = run(ListSource(30), [FakeStage("a", work)], warmup=5)
    stage = summary.metrics["stages"]["a"]
    assert stage["count"] == 25
    assert stage["p50"] < 50


# Idling and holding


def test_a_stage_idles_on_its_own_thread_while_nothing_comes() -> None:
    source, sink = ListSource(3, paced=True, every=0.3), IdleStage("sink")
    run(source, [FakeStage("a")], [sink])
    assert sink.threads == {"prosopon-sink"}
    assert 0 in sink.idled_after
    assert 1 in sink.idled_after
    assert 4 <= len(sink.idled) <= 1.2 / IDLE_SECONDS
    assert sink.seen == [0, 1, 2]


def test_a_busy_stage_never_idles_and_no_idle_call_is_closer_than_agreed() -> None:
    busy, waiting = IdleStage("busy"), IdleStage("waiting", lambda capture: capture)
    source = ListSource(60, paced=True, every=0.005)
    run(source, [busy, FakeStage("gate", lambda c: None if c.frame.index < 59 else c)], [waiting])
    gaps = [later - earlier for earlier, later in pairwise(waiting.idled)]
    assert waiting.idled
    assert all(gap >= IDLE_SECONDS - 0.005 for gap in gaps)
    assert len(busy.idled) < len(waiting.idled)


def test_a_failing_idle_is_counted_and_the_stream_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("no screen")

    sink = IdleStage("sink", on_idle=fail)
    summary = run(ListSource(2, paced=True, every=0.15), [], [sink])
    assert sink.seen == [0, 1]
    assert summary.metrics["stages"]["sink"]["errors"] == len(sink.idled) > 0
    assert "Stage sink failed while idle (1 so far): ValueError: no screen" in caplog.text


@pytest.mark.parametrize("policy", ["latest", "wait"])
def test_a_holding_sink_keeps_the_run_after_the_source_until_it_stops(policy: str) -> None:
    def look() -> None:
        if len(sink.idled) == 6:
            pipeline.stop()

    sink, other = IdleStage("sink", on_idle=look, holds=True), FakeStage("other")
    source = ListSource(1, paced=policy == "latest")
    pipeline = Pipeline(source, [FakeStage("a")], [sink, other], policy)  # type: ignore[arg-type]
    begun = time.monotonic()
    summary = run_pipeline(pipeline)
    elapsed = time.monotonic() - begun
    assert elapsed >= 4 * IDLE_SECONDS
    assert (summary.reason, summary.abandoned) == ("stopped", ())
    assert (sink.seen, other.seen, sink.closed, other.closed) == ([0], [0], 1, 1)
    assert len(sink.idled) == 6
    assert summary.seconds <= elapsed - 4 * IDLE_SECONDS  # the figures are those of the work, not of the wait


def test_a_sink_may_stop_holding_by_itself() -> None:
    def look() -> None:
        sink.holds = len(sink.idled) < 3

    sink = IdleStage("sink", on_idle=look, holds=True)
    summary = run(ListSource(1), [], [sink])
    assert (summary.reason, len(sink.idled)) == ("ended", 3)


def test_holding_obeys_the_duration_a_stop_and_the_count() -> None:
    sinks = [IdleStage("sink", holds=True) for _ in range(3)]
    assert run(ListSource(1), [], [sinks[0]], duration=0.3).reason == "duration"
    assert run_with_stop(Pipeline(ListSource(1), [], [sinks[1]]), 0.3).reason == "stopped"
    assert run(ListSource(None), [], [sinks[2]], frames=1).reason == "frames"
    assert sinks[0].idled
    assert sinks[1].idled
    assert not sinks[2].idled


def test_a_failing_source_is_not_held() -> None:
    sink = IdleStage("sink", holds=True)
    with pytest.raises(SourceError, match="Unplugged"):
        run(ListSource(1, read_error=SourceError("Unplugged.")), [], [sink])
    assert sink.seen == [0]


def test_holding_without_idling_means_nothing() -> None:
    sink = FakeStage("sink")
    sink.holds = True  # type: ignore[attr-defined]
    assert run(ListSource(2), [], [sink]).reason == "ended"


# Ways out


def test_ends_after_the_frames_asked_for() -> None:
    sink = FakeStage("sink")
    summary = run(ListSource(None), [FakeStage("a")], [sink], frames=7)
    assert sink.seen == list(range(7))
    assert summary.reason == "frames"


def test_ends_after_the_duration() -> None:
    summary = run(ListSource(None, paced=True, every=0.01), [FakeStage("a")], duration=0.2)
    assert summary.reason == "duration"
    assert summary.metrics["stages"]["a"]["count"] > 0


@pytest.mark.parametrize("policy", ["latest", "wait"])
def test_stop_from_another_thread(policy: str) -> None:
    sink = FakeStage("sink", sleeping(0.01))
    pipeline = Pipeline(ListSource(None, every=0.001), [FakeStage("a")], [sink], policy)  # type: ignore[arg-type]
    summary = run_with_stop(pipeline, 0.15)
    assert summary.reason == "stopped"
    assert summary.abandoned == ()
    assert sink.closed == 1


def test_stop_while_a_source_waits_for_its_next_frame() -> None:
    source = ListSource(None, paced=True, every=60)
    stage = FakeStage("a")
    summary = run_with_stop(Pipeline(source, [stage]), 0.1)
    assert (summary.reason, source.closed, stage.closed) == ("stopped", 1, 1)


def test_stop_before_the_run() -> None:
    stage = FakeStage("a")
    pipeline = Pipeline(ListSource(None), [stage])
    pipeline.stop()
    assert run_pipeline(pipeline).reason == "stopped"
    assert (stage.seen, stage.closed) == ([], 1)
    pipeline.stop()


def test_stop_while_opening() -> None:
    stage = FakeStage("a", on_open=lambda: time.sleep(0.3))
    summary = run_with_stop(Pipeline(ListSource(None), [stage]), 0.05)
    assert (summary.reason, stage.seen, stage.closed) == ("stopped", [], 1)


def test_the_end_of_the_input_drains_what_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "DRAIN_SECONDS", 10.0)
    slow = FakeStage("slow", sleeping(0.2))
    sink = FakeStage("sink", sleeping(0.1))
    run(ListSource(1, paced=True), [slow], [sink])
    assert sink.seen == [0]


def test_a_stuck_stage_is_named_and_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    stuck = FakeStage("stuck", lambda capture: capture if release.wait(30) else None)
    healthy, source = FakeStage("healthy"), ListSource(None, paced=True, every=0.01)
    pipeline = Pipeline(source, [stuck], [healthy])
    begun = time.monotonic()
    summary = run_with_stop(pipeline, 0.1)
    assert time.monotonic() - begun < STOP_SECONDS + 10
    assert summary.abandoned == ("stuck",)
    assert (healthy.closed, source.closed, stuck.closed) == (1, 1, 0)
    assert "stuck did not stop" in caplog.text
    thread = next(thread for thread in threading.enumerate() if thread.name == "prosopon-stuck")
    assert thread.daemon
    release.set()
    thread.join(5)
    assert stuck.closed == 1


def test_cancelling_the_run_closes_everything() -> None:
    stage, source = FakeStage("a"), ListSource(None, paced=True, every=0.005)

    async def play() -> None:
        running = asyncio.create_task(Pipeline(source, [stage]).run())
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(play())
    assert (stage.closed, source.closed) == (1, 1)


# Failures


@pytest.mark.parametrize("where", ["stage", "sink", "source"])
def test_a_failing_open_ends_the_run_and_closes_the_rest(where: str) -> None:
    error = SourceError("There is no camera.")
    source = ListSource(None, open_error=error if where == "source" else None)
    stage = FakeStage("stage", open_error=error if where == "stage" else None)
    sink = FakeStage("sink", open_error=error if where == "sink" else None)
    with pytest.raises(SourceError, match="no camera"):
        run(source, [stage], [sink])
    assert (source.closed, stage.closed, sink.closed) == (1, 1, 1)
    assert stage.seen == sink.seen == []


def test_a_failing_source_drains_and_raises() -> None:
    sink, source = FakeStage("sink", sleeping(0.01)), ListSource(5, read_error=SourceError("Unplugged."))
    with pytest.raises(SourceError, match="Unplugged"):
        run(source, [], [sink])
    assert sink.seen == [0, 1, 2, 3, 4]
    assert source.closed == 1


def test_a_failing_close_is_told_and_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("disk full")

    other = FakeStage("other")
    summary = run(ListSource(2), [FakeStage("bad", on_close=fail), other])
    assert summary.reason == "ended"
    assert summary.failures == ("bad failed to close: OSError: disk full",)
    assert other.closed == 1
    assert "bad failed to close: OSError: disk full" in caplog.text


def test_a_pipeline_runs_once() -> None:
    pipeline = Pipeline(ListSource(1), [])
    run_pipeline(pipeline)
    with pytest.raises(RuntimeError, match="runs once"):
        run_pipeline(pipeline)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a", "a"], {}, "called 'a'"),
        (["source"], {}, "called 'source'"),
        (["a"], {"duration": 0.0}, "duration"),
        (["a"], {"duration": float("nan")}, "duration"),
        (["a"], {"frames": 0}, "frames"),
        (["a"], {"warmup": -1}, "warm-up"),
    ],
)
def test_bad_settings_are_sentences(names: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline(ListSource(1), [FakeStage(name) for name in names], **options)


def test_metrics_are_served_while_it_runs() -> None:
    pages: list[str] = []

    def look(capture: Capture) -> Capture:
        if capture.frame.index == 3:
            port = pipeline._server.target.port
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                pages.append(answer.read().decode())
        return capture

    pipeline = Pipeline(ListSource(5), [FakeStage("a", look)], metrics_port=0)
    run_pipeline(pipeline)
    assert 'prosopon_frames_total{stage="a"} 3.0' in pages[0]


def test_a_bad_metrics_port_ends_the_run() -> None:
    with pytest.raises(ConfigError, match="metrics-port"):
        run(ListSource(None), [FakeStage("a")], metrics_port=70000)
