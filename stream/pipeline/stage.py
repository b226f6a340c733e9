"""What a stage is."""

from __future__ import annotations

from typing import Protocol

from stream.types import Capture


class Stage(Protocol):
    """One step of the pipeline: a capture in, a richer capture out, always on the same worker thread.

    A stage never changes the capture it gets (`dataclasses.replace`), never blocks for longer than its own
    work, and may raise: the pipeline counts the failure, shows it and goes on with the next item.

    Two more things a stage may have:

    - ``idle()``, called on the same thread, at most 20 times a second, while nothing comes (a window lives on
      while its camera stalls); never once a stop was asked for. A failure counts as the stage's.
    - ``holds``, of a sink with ``idle``: once the source has ended by itself, the run goes on and keeps the
      sink idling while this is true, until `Pipeline.stop`, the duration or a signal ends it.

    :cvar name: short, unique in a pipeline; metrics, tables and messages use it.
    """

    name: str

    def open(self) -> None:
        """Take what the stage needs (models, GL contexts); called once, on the worker thread."""

    def __call__(self, capture: Capture) -> Capture | None:
        """Do the work; ``None`` ends this capture's way (a source's frame that nobody wants)."""

    def close(self) -> None:
        """Give everything back; called once, on the worker thread, also after a failure."""
