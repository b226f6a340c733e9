"""Workers: one thread, in order, failures come with the future."""

from __future__ import annotations

import threading

import pytest

from stream.pipeline.worker import Worker


def test_work_runs_in_order_on_one_named_daemon_thread() -> None:
    worker = Worker("depth")
    threads = [worker.submit(threading.current_thread).result(5) for _ in range(3)]
    assert len(set(threads)) == 1
    assert threads[0].name == "prosopon-depth"
    assert threads[0].daemon
    worker.stop()
    assert worker.join(5)


def test_an_exception_comes_with_the_future_and_the_thread_lives_on() -> None:
    worker = Worker("x")
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 // 0).result(5)
    assert worker.submit(divmod, 7, 2).result(5) == (3, 1)
    worker.stop()
    assert worker.join(5)


def test_join_gives_up_on_a_stuck_thread() -> None:
    worker = Worker("stuck")
    release = threading.Event()
    stuck = worker.submit(release.wait, 30)
    worker.stop()
    assert not worker.join(0.05)
    release.set()
    assert stuck.result(5) is True
    assert worker.join(5)
