"""What a source is."""

from __future__ import annotations

from typing import Protocol

from stream.types import Capture, Frame


class Source(Protocol):
    """Gives frames, one after the other, always on the same thread.

    One whose frames come with what others worked out (a remote session, a recording) gives captures instead,
    and says in ``gives`` (fields of `stream.types.Person`) what they hold.

    :ivar name: short, for messages; each `Frame.source` repeats it.
    :ivar rate: frames per second it means to give, or None where nobody knows.
    :ivar paced: True where frames come in real time (a camera, a file played at its own rate), so that
        `Frame.captured` can be compared with the clock. False where they come as fast as they are read:
        `Frame.captured` then advances by the media's own time from the moment reading began, so that
        filters over time see the same steps as live, and says nothing about latency.
    """

    name: str
    rate: float | None
    paced: bool

    def open(self) -> None:
        """Take the camera or file; called once.

        :raises SourceError: it cannot give frames.
        """

    def read(self) -> Frame | Capture | None:
        """Wait for the next frame; None once the source has ended or was interrupted.

        `Frame.index` counts what the source skipped too, so that the gaps can be counted as drops. What comes
        later of the same frame has its index.

        :raises SourceError: nothing in it could be decoded.
        """

    def interrupt(self) -> None:
        """From any thread: make a waiting and every later `read` return None soon."""

    def close(self) -> None:
        """Give everything back; called once, also after a failure, and harmless when not open."""


class FrameSource(Source, Protocol):
    """A source of nothing but frames."""

    def read(self) -> Frame | None:
        """See `Source.read`."""
