"""A pool that a failure ends, and not all the work that waits."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from stream.data.workers import worker_pool


def test_a_failure_gives_up_what_has_not_begun() -> None:
    waiting: list[Future[None]] = []

    def work() -> None:
        with worker_pool(1) as pool:
            failing = pool.submit(int, "x")
            waiting.extend(pool.submit(time.sleep, 0.2) for _ in range(100))
            failing.result()

    with pytest.raises(ValueError, match="invalid literal"):
        work()
    assert all(job.done() for job in waiting)
    assert sum(job.cancelled() for job in waiting) > 50


def test_without_a_failure_everything_is_done(tmp_path: Path) -> None:
    with worker_pool(1) as pool:
        jobs = [pool.submit((tmp_path / str(k)).touch) for k in range(3)]
    assert all(job.done() and not job.cancelled() for job in jobs)
    assert len(list(tmp_path.iterdir())) == 3
