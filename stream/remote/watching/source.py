"""A remote session as a source and a stage of the live pipeline, so that it is drawn like a camera."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from stream.remote.loop_thread import LoopThread
from stream.remote.watching.build import blank_picture, remote_mesh
from stream.remote.watching.frame import RemoteFrame
from stream.remote.watching.viewer import RemoteViewer, ViewerFigures
from stream.remote.wire.messages import State
from stream.types import Array, Capture, Frame, Intrinsics

NAME = "remote"

TOGETHER = 0.01
"""Seconds that a picture's first face waits for the others, which are messages of their own."""

LANE_SECONDS = 0.5
"""Seconds after which a face that no longer comes is not waited for."""

BEAT_SECONDS = 0.5
"""While no mesh comes, a frame without faces says so this often."""

CLOSE_SECONDS = 1.5

NO_CAMERA = Intrinsics(1.0, 1.0, 0.0, 0.0, 640, 480)


class RemoteSource:
    """Gives the pictures of a remote session (a `stream.sources.source.Source`); `taken` has their surfaces.

    :param viewer: not yet open; it lives on a thread of its own.
    """

    name = NAME
    rate: float | None = None
    paced = True

    def __init__(self, viewer: RemoteViewer) -> None:
        self._viewer = viewer
        self._thread: LoopThread | None = None
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._groups: dict[int, list[RemoteFrame]] = {}
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
        """Connect, if that was not done before.

        :raises RemoteError: the server cannot be reached or refuses.
        """
        if self._thread is None:
            self._thread = LoopThread("viewer")
            try:
                self._thread.submit(self._viewer.open()).result()
            except BaseException:
                self.close()
                raise

    def read(self) -> Frame | None:
        """The next picture with faces, or after a while without, one that has none; see `Source.read`.

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
        if not group:
            return Frame(self._image, time.monotonic(), index, NAME)
        first = group[0]
        self._image = blank_picture(first.surface.intrinsics) if first.picture is None else first.picture
        with self._lock:
            self._groups[index] = group
        return Frame(self._image, first.captured or first.arrived, index, NAME)

    def taken(self, index: int) -> list[RemoteFrame]:
        """The surfaces of the frame of that index, by lane; those of earlier frames are forgotten."""
        with self._lock:
            group = self._groups.pop(index, [])
            self._groups = {later: kept for later, kept in self._groups.items() if later > index}
        return group

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


class RemoteMeshStage:
    """Adds the faces, depths and meshes that came with a frame (a `stream.pipeline.stage.Stage`).

    :param taken: gives the surfaces by the frame's index (`RemoteSource.taken`).
    :param compute: ``auto``, ``numba`` or ``cuda``.
    """

    name = "mesh"

    def __init__(self, taken: Callable[[int], list[RemoteFrame]], compute: str = "auto") -> None:
        self._taken, self._compute = taken, compute

    def open(self) -> None:
        """Load the kernels, which may compile them for some seconds the first time."""
        from stream.compute.backends import load_twin

        load_twin("depth_to_mesh", self._compute)

    def __call__(self, capture: Capture) -> Capture:
        """Build the meshes.

        :raises InputError, BackendError: one cannot be built.
        """
        image = capture.frame.image
        built = [remote_mesh(frame, image, self._compute) for frame in self._taken(capture.frame.index)]
        faces, depths, meshes = zip(*built, strict=True) if built else ((), (), ())
        return replace(capture, faces=faces, depths=depths, meshes=meshes)

    def close(self) -> None:
        """Nothing to give back."""
