"""Runs the live chain for minutes at a camera's rate and says whether memory stays flat and nothing is lost.

python tools/soak.py --minutes 10
"""

from __future__ import annotations

import argparse
import sys
import threading

from stream.evaluation.benchmark import BenchSettings, measure
from stream.evaluation.machine import machine_sentence

RATE = 30.0
WARMUP_SECONDS = 20
ALLOWED_GROWTH = 5.0
"""Per cent by which the resident set may grow after the warm-up."""


def main() -> None:
    """Soak, print the figures, and fail if memory grew or a thread stayed behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--no-render", action="store_true")
    options = parser.parse_args()
    settings = BenchSettings(
        frames=round(options.minutes * 60 * RATE),
        warmup=round(WARMUP_SECONDS * RATE),
        render=not options.no_render,
    )
    before = threading.active_count()
    figures = measure(settings, RATE)
    left = threading.active_count() - before
    latency = figures["latency_ms"]
    print(machine_sentence())
    print(f"{figures['seconds']:.0f} s, {figures['fps']:.1f} fps, {figures['drops']} dropped")
    print(f"latency p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, p99 {latency['p99']:.1f} ms")
    print(f"RSS at most {figures['rss_mb']:.0f} MB, grown by {figures['rss_growth_percent']:.2f} %")
    print(f"threads left behind: {left}")
    sys.exit(figures["rss_growth_percent"] > ALLOWED_GROWTH or left > 0)


if __name__ == "__main__":
    main()
