"""What a stage and a sink are."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from stream.pipeline.demand import Demand
from stream.types import Capture


class Stage(Protocol):
    """One step of the pipeline: a capture in, a richer capture out, always on the same worker thread.

    A stage never changes the capture it gets (`dataclasses.replace`), never blocks for longer than its own
    work, and may raise: the pipeline counts the failure, shows it and goes on with the next item.

    :cvar name: short, unique in a pipeline; metrics, tables and messages use it.
    """

    name: str

    def open(self) -> None:
        """Take what the stage needs (models, GL contexts); called once, on the worker thread."""

    def __call__(self, capture: Capture) -> Capture | None:
        """Do the work; ``None`` ends this capture's way (a frame that nobody wants)."""

    def close(self) -> None:
        """Give everything back; called once, on the worker thread, also after a failure."""


@runtime_checkable
class Idles(Protocol):
    """A stage or sink that has something to do while nothing comes: a window lives while its camera stalls.

    :ivar holds: of a sink: once the source has ended by itself, the run goes on and keeps the sink idling
        while this is true, until `Pipeline.stop`, the duration or a signal ends it.
    """

    holds: bool

    def idle(self) -> None:
        """Called on the stage's thread, at most 20 times a second, while nothing comes; never once a stop was
        asked for. A failure counts as the stage's."""


@runtime_checkable
class Sink(Stage, Protocol):
    """A stage whose result goes nowhere.

    It gets every capture, also where what it wants could not be worked out: a node failed or a person has no
    place on a device. Then the field is None.
    """

    @property
    def wants(self) -> Demand:
        """What it wants now; asked from the source's thread as each frame is read."""
