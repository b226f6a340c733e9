"""Worker processes for long work that can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any


@contextmanager
def worker_pool(
    workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes; where the block raises, what has not begun is given up.

    The executor's own block would first do everything that waits, however long that takes.

    :param start: called with ``arguments`` in each process when it begins.
    """
    with ProcessPoolExecutor(workers, get_context("spawn"), start, arguments) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
