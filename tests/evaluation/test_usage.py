"""CPU and memory of the process while something runs."""

import time

import numpy as np
import pytest

from stream.evaluation.usage import UsageWatch


def test_a_busy_loop_and_its_memory_are_seen() -> None:
    with UsageWatch() as watch:
        watch.begin()
        block = np.ones(64 << 17)  # 64 MiB, touched
        until = time.process_time() + 0.4
        while time.process_time() < until:
            block[:1000].sum()
    usage = watch.usage
    assert usage.cpu_percent > 5
    assert usage.peak_rss_mb - usage.first_rss_mb > 40
    assert usage.peak_rss_mb >= usage.last_rss_mb > 0


def test_a_failure_inside_ends_the_watch() -> None:
    def fail() -> None:
        with UsageWatch():
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
