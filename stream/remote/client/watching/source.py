"""A remote session as a source, so that it is drawn like a camera."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time

from stream.protocol.messages import State
from stream.remote.blank import NO_CAMERA, blank_picture
from stream.remote.client.watching.build import received_people, received_picture
from stream.remote.client.watching.frame import RemoteFrame
from stream.remote.client.watching.viewer import RemoteViewer, ViewerFigures
from stream.remote.loop_thread import LoopThread
from stream.types import Array, Capture, Frame

NAME = "remote"

TOGETHER = 0.01
"""Seconds that a picture's first face waits for the others, which are messages of their own."""

LANE_SECONDS = 0.5
"""Seconds after which a face that no longer comes is not waited for."""

BEAT_SECONDS = 0.5
"""While no mesh comes, a frame without faces says so this often."""

CLOSE_SECONDS = 1.5


class RemoteSource:
    """Gives the pictures of a remote session with their people (a `stream.pipeline.source.Source`).

    :param viewer: not yet open; it lives on a thread of its own.
    """

    name = NAME
    rate: float | None = None
    paced = True
    gives = ("face", "surface")

    def __init__(self, viewer: RemoteViewer) -> None:
        self._viewer = viewer
        self._thread: LoopThread | None = None
        self._interrupted = threading.Event()
        self._seen: dict[int, float] = {}
        self._held: RemoteFrame | None = None
        self._image: Array = blank_picture(NO_CAMERA)
        self._count, self._index = 0, -1

    @property
    def figures(self) -> ViewerFigures:
        """How the viewer fares."""
        return self._viewer.figures

    @property
    def state(self) -> State | None:
        """What the server said last."""
        return self._viewer.state

    @property
    def over(self) -> bool:
        """Whether it was told to stop."""
        return self._interrupted.is_set()

    def open(self) -> None:
        """Connect.

        :raises RemoteError: the server cannot be reached or refuses.
        """
        self._thread = LoopThread("viewer")
        try:
            self._thread.submit(self._viewer.open()).result()
        except BaseException:
            self.close()
            raise

    def read(self) -> Capture | None:
        """The next picture with people, or after a while without, one that has none; see `Source.read`.

        Crops and cameras are in the picture's pixels. Where none came, or of another shape, it is grey.

        :raises RemoteError: the connection was lost and did not come back.
        """
        if self._thread is None or self._interrupted.is_set():
            return None
        try:
            group = self._thread.submit(self._group()).result()
        except concurrent.futures.CancelledError:
            return None
        if group is None or self._interrupted.is_set():
            return None
        self._count += 1
        # The figures are another thread's: they may be a moment late, the index must rise all the same.
        index = self._index = max(self._index + 1, self._count - 1 + self._viewer.figures.skipped)
        frame = self._frame(group[0], index) if group else self._beat(index)
        return Capture(frame).adding(self.gives, received_people(group, frame.image))

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        self._interrupted.set()
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self._thread.submit(self._viewer.close())

    def close(self) -> None:
        """Say goodbye."""
        thread, self._thread = self._thread, None
        if thread is not None:
            with contextlib.suppress(TimeoutError):
                thread.submit(self._viewer.close()).result(CLOSE_SECONDS)
            thread.stop()

    def _frame(self, first: RemoteFrame, index: int) -> Frame:
        image = received_picture(first)
        fresh = first.picture is not None and image is not self._image
        self._image = image
        return Frame(image, first.captured or first.arrived, index, NAME, fresh=fresh)

    def _beat(self, index: int) -> Frame:
        return Frame(self._image, time.monotonic(), index, NAME, fresh=False)

    async def _group(self) -> list[RemoteFrame] | None:
        """The faces of one picture; none after `BEAT_SECONDS` without any; None at the end."""
        try:
            first = self._held or await asyncio.wait_for(self._viewer.next_frame(), BEAT_SECONDS)
        except TimeoutError:
            return []
        self._held = None
        if first is None:
            return None
        group = {first.lane: first}
        self._seen[first.lane] = now = time.monotonic()
        missing = {lane for lane, seen in self._seen.items() if now - seen < LANE_SECONDS} - {first.lane}
        while missing:
            try:
                other = await asyncio.wait_for(self._viewer.next_frame(), TOGETHER)
            except TimeoutError:
                break
            if other is None or other.surface.captured > first.surface.captured:
                self._held = other
                break
            self._seen[other.lane] = time.monotonic()
            if other.surface.captured == first.surface.captured:
                group[other.lane] = other
                missing.discard(other.lane)
        return [group[lane] for lane in sorted(group)]
