"""How far a TensorRT build is: its nested phases as one share, and a bar in the terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Progress = Callable[[str, float], bool]
"""Told what is being done and the share done so far, 0..1; returns false to stop."""

T = TypeVar("T")

POLL = 0.1
"""Seconds between two looks at whether a build has ended; Ctrl-C is heeded in between."""


class Phases:
    """The tree of phases a build is in, as one share of the whole."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, steps done
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, perhaps inside another."""
        self._running[name] = parent, max(1, steps), 0

    def step(self, name: str, step: int) -> None:
        """A step, counted from 0, is done."""
        if name in self._running:
            parent, steps, _ = self._running[name]
            self._running[name] = parent, steps, min(step + 1, steps)

    def finish(self, name: str) -> None:
        """A phase ends."""
        self._running.pop(name, None)

    def share(self) -> float:
        """Share of the whole that is done, 0..1; it never goes back."""
        self._share = max(self._share, self._inside(None))
        return self._share

    def _inside(self, parent: str | None) -> float:
        """Share of the phase within ``parent`` that is furthest."""
        shares = [
            min(1.0, (done + self._inside(name)) / steps)
            for name, (above, steps, done) in self._running.items()
            if above == parent
        ]
        return max(shares, default=0.0)


def run_with_bar(title: str, work: Callable[[Progress], T]) -> T:
    """Do ``work`` on a thread of its own behind a bar on standard error; Ctrl-C stops it.

    Native code holds the thread it runs on, so the calling thread only waits: that way Ctrl-C is heeded
    within a step. Without a terminal no bar is drawn.

    :raises KeyboardInterrupt: after ``work`` has stopped.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    stop, results, errors = threading.Event(), list[T](), list[BaseException]()
    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)

        def report(phase: str, share: float) -> bool:
            bar.update(task, completed=share)
            return not stop.is_set()

        def run() -> None:
            try:
                results.append(work(report))
            except BaseException as error:  # handed to the thread that waits
                errors.append(error)

        thread = threading.Thread(target=run, name="tensorrt-build")
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL)
        except KeyboardInterrupt:
            stop.set()
            thread.join()
            raise
    if errors:
        raise errors[0]
    return results[0]
