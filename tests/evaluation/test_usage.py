"""CPU and memory of the process while something runs."""

import json
import subprocess
import sys

import pytest

from stream.evaluation.usage import ProcessUsage, UsageWatch

BUSY = """
import json, time
from dataclasses import asdict
import numpy as np
from stream.evaluation.usage import UsageWatch

with UsageWatch() as watch:
    watch.begin()
    time.sleep(0.2)
    block = np.ones(64 << 17)  # 64 MiB, touched
    until = time.process_time() + 0.4
    while time.process_time() < until:
        block[:1000].sum()
print(json.dumps(asdict(watch.usage)))
"""
"""Run in a process of its own: in this one, what other tests left may be freed meanwhile."""


def test_a_busy_loop_and_its_memory_are_seen() -> None:
    said = subprocess.run([sys.executable, "-c", BUSY], check=True, capture_output=True, text=True).stdout
    usage = ProcessUsage(**json.loads(said))
    assert usage.cpu_percent > 5
    assert usage.peak_rss_mb - usage.first_rss_mb > 40
    assert usage.peak_rss_mb >= usage.last_rss_mb > 0


def test_a_failure_inside_ends_the_watch() -> None:
    def fail() -> None:
        with UsageWatch():
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
