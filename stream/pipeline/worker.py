"""One daemon thread that runs one thing at a time for one stage."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class Worker:
    """A single named thread: everything submitted runs on it, in order.

    A `ThreadPoolExecutor` would do, but its threads are joined when the interpreter exits, so that one
    stage stuck in native code would keep the program from ending; this thread is a daemon.
    """

    def __init__(self, name: str) -> None:
        # At most one piece of work, the close that follows it and the stop mark are ever waiting.
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=3)
        self._thread = threading.Thread(target=self._run, name=f"prosopon-{name}", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., ResultT], *args: Any) -> Future[ResultT]:
        """Run ``function(*args)`` on the thread; its result or exception comes with the future."""
        future: Future[ResultT] = Future()
        future.set_running_or_notify_cancel()

        def job() -> None:
            try:
                result = function(*args)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._jobs.put_nowait(job)
        return future

    def stop(self) -> None:
        """End the thread once what was submitted is done; does not wait."""
        self._jobs.put_nowait(None)

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; False if it still runs after ``timeout`` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or the closure would keep the last item alive while the thread is idle
