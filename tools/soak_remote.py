"""Holds a server under load for minutes and says whether it stays fresh and its memory flat.

python tools/soak_remote.py --minutes 5 --json out/soak_remote.json

Several cameras publish a session each; all viewers watch the first one. The cameras' pictures are encoded
once for all of them, the viewers decode meshes but draw nothing and take no video: the load is to leave the
cores to the server. A queue that grows anywhere between camera and viewer shows in the age of the newest
mesh, or in the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from stream.evaluation.machine import machine_sentence
from stream.evaluation.remote_parts import Server, in_process, pictures_of, published, wait_alive
from stream.files import atomic_path
from stream.protocol.clock import wall_micros
from stream.remote.client.watching.viewer import RemoteViewer
from stream.remote.event_loop import run
from stream.remote.settings import ServeSettings
from stream.remote.transport.rtc_inner import PeerConnection
from stream.remote.transport.video import SharedVideo
from stream.sources.sample import bounce
from stream.types import Array

RATE = 30.0
SIDE, KBPS = 640, 1000
"""Of the cameras' video."""

WARMUP_SECONDS = 20.0

ALLOWED_GROWTH = 5.0
"""Per cent by which the server's resident set may grow from the first to the last quarter of the time."""

MOST_AGE = 1.0
"""Seconds: of the newest mesh that a viewer has, 95 % of the time."""

LEAST_RATE = 1.0
"""Meshes a second for each viewer."""

AGING = 0.25
"""Seconds by which meshes may be older in the second half than in the first: a queue would grow by more."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How one viewer fared.

    :ivar fps: meshes a second.
    :ivar longest_gap: seconds between two meshes.
    :ivar age_p50, age_p95: seconds since capture of the newest mesh it has, looked at ten times a second.
    :ivar first_half, second_half: medians of that age.
    :ivar skipped, lost, reconnections: see `stream.remote.client.watching.viewer.ViewerFigures`.
    """

    fps: float
    longest_gap: float
    age_p50: float
    age_p95: float
    first_half: float
    second_half: float
    skipped: int
    lost: int
    reconnections: int


def run_cameras(url: str, sessions: list[str]) -> None:
    """Publish the sample in several sessions from one process until the server ends."""
    run(_cameras(url, sessions, pictures_of("sample")))


async def _cameras(url: str, sessions: list[str], pictures: list[Array]) -> None:
    video = SharedVideo(SIDE, KBPS)
    async with contextlib.AsyncExitStack() as stack:
        ends = []
        for session in sessions:
            peer, feed = PeerConnection([]), video.feed()
            transceiver = peer.addTransceiver(feed, direction="sendonly")
            ends.append(await stack.enter_async_context(published(url, session, peer)))
            feed.bind(transceiver)
        begun = time.monotonic()
        for place in itertools.count():
            await asyncio.sleep(begun + place / RATE - time.monotonic())
            if any(end.is_set() for end in ends):
                break
            video.offer(pictures[bounce(place, len(pictures))], wall_micros(time.monotonic()))
    video.close()


def run_viewers(url: str, session: str, count: int, seconds: float) -> list[Freshness]:
    """Watch a session ``count`` times over from one process."""
    return run(_viewers(url, session, count, seconds))


async def _viewers(url: str, session: str, count: int, seconds: float) -> list[Freshness]:
    await wait_alive(url, session)
    async with contextlib.AsyncExitStack() as stack:
        viewers = [
            await stack.enter_async_context(RemoteViewer(url, session=session, pictures=False))
            for _ in range(count)
        ]
        await asyncio.sleep(WARMUP_SECONDS)
        return list(await asyncio.gather(*(_follow(viewer, seconds) for viewer in viewers)))


async def _follow(viewer: RemoteViewer, seconds: float) -> Freshness:
    """Take all meshes for so long, and look at the newest one's age ten times a second."""
    newest: list[int] = []
    arrivals: list[float] = []

    async def take() -> None:
        async for frame in viewer:
            newest[:] = [frame.surface.captured]
            arrivals.append(frame.arrived)

    taking = asyncio.ensure_future(take())
    before, ages = viewer.figures, []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        await asyncio.sleep(0.1)
        now = time.monotonic()
        ages.append((wall_micros(now) - newest[0]) / 1e6 if newest else now - begun)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    figures = viewer.figures
    edges = [begun, *arrivals, begun + seconds]
    half = len(ages) // 2
    return Freshness(
        len(arrivals) / seconds,
        max(after - earlier for earlier, after in itertools.pairwise(edges)),
        statistics.median(ages),
        statistics.quantiles(ages, n=20)[-1],
        statistics.median(ages[:half]),
        statistics.median(ages[half:]),
        figures.skipped - before.skipped,
        figures.lost - before.lost,
        figures.reconnections - before.reconnections,
    )


def soak(sessions: int, viewers: int, seconds: float) -> dict[str, Any]:
    """Run it all.

    :returns: ``rss_mb``, ``threads`` and ``files`` of the server once a second, without the warm-up;
        ``viewers``, one `Freshness` each; ``metrics`` of each session by name.
    """
    settings = ServeSettings(port=0, max_sessions=sessions, max_viewers=max(viewers, 1))
    with Server(settings) as server:
        cameras = in_process(run_cameras, server.url, [f"soak-{place}" for place in range(sessions)])
        watching = in_process(run_viewers, server.url, "soak-0", viewers, seconds)
        series = _watch_server(server.process, watching.done)
        result = {
            **series,
            "viewers": [asdict(one) for one in watching.result()],
            "metrics": server.metrics(),
        }
    cameras.result()
    kept = round(seconds)
    return {**result, **{name: values[-kept:] for name, values in series.items()}}


def _watch_server(process: psutil.Process, done: Any) -> dict[str, list[float]]:
    series: dict[str, list[float]] = {"rss_mb": [], "threads": [], "files": []}
    while not done():
        time.sleep(1.0)
        with process.oneshot():
            series["rss_mb"].append(process.memory_info().rss / 2**20)
            series["threads"].append(process.num_threads())
            series["files"].append(process.num_fds())
    return series


def judge(result: dict[str, Any]) -> list[str]:
    """What is not as it should be; nothing, if all is well."""
    faults = []
    growth = growth_percent(result["rss_mb"])
    if growth > ALLOWED_GROWTH:
        faults.append(f"the server's memory grew by {growth:.1f} %")
    faults += [
        f"the server's {name} grew from {result[name][0]} to {max(result[name])}"
        for name in ("threads", "files")
        if max(result[name]) > 1.2 * result[name][0] + 8
    ]
    wrongs: dict[str, Callable[[dict[str, Any]], bool]] = {
        f"got less than {LEAST_RATE:g} mesh a second": lambda one: one["fps"] < LEAST_RATE,
        f"had meshes older than {MOST_AGE:g} s (95 %)": lambda one: one["age_p95"] > MOST_AGE,
        "got older and older meshes": lambda one: one["second_half"] > one["first_half"] + AGING,
        "lost their connection": lambda one: one["reconnections"] > 0,
    }
    for what, wrong in wrongs.items():
        if found := [str(place) for place, one in enumerate(result["viewers"]) if wrong(one)]:
            faults.append(f"viewers {', '.join(found)} {what}")
    return faults


def growth_percent(series: list[float]) -> float:
    """From the median of a series' first quarter to that of its last."""
    quarter = max(1, len(series) // 4)
    first, last = statistics.median(series[:quarter]), statistics.median(series[-quarter:])
    return 100 * (last / first - 1)


def main() -> None:
    """Soak, print the figures, and fail if something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = soak(options.sessions, options.viewers, options.minutes * 60)
    result |= {"machine": machine_sentence(), "faults": judge(result)}
    print(result["machine"])
    rss = result["rss_mb"]
    print(f"server: {rss[0]:.0f} to {rss[-1]:.0f} MB, {growth_percent(rss):+.2f} %")
    for name, session in result["metrics"].items():
        lost = {stage: one["drops"] for stage, one in session["stages"].items() if one["drops"]}
        drops = ", ".join(f"{stage} {count}" for stage, count in lost.items())
        print(f"{name}: {session['fps']:.1f} fps, dropped: {drops or 'none'}")
    for place, viewer in enumerate(result["viewers"]):
        p50, p95, gap = (round(viewer[name] * 1e3) for name in ("age_p50", "age_p95", "longest_gap"))
        age = f"newest {p50} ms old (95 %: {p95} ms)"
        print(f"viewer {place}: {viewer['fps']:.1f} meshes a second, {age}, longest gap {gap} ms")
    if options.json:
        with atomic_path(options.json) as temporary:
            temporary.write_text(json.dumps(result, indent=2))
    print("Faults: " + ("; ".join(result["faults"]) or "none"))
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
