"""A camera, reopened when it stalls or is unplugged."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from stream.errors import ConfigError, InputError, SourceError
from stream.sources.convert import to_rgb
from stream.sources.timed import check_rate
from stream.types import Array, Frame

log = logging.getLogger(__name__)

Device = int | str
"""A camera's number or its device file."""

OPEN_SECONDS = 10.0
"""How long a camera may take to give its first frame."""

STALL_SECONDS = 2.0
"""How long a running camera may be silent before it is reopened."""

BACKOFF = (0.5, 8.0)
"""Seconds before the first attempt to reopen, doubled up to the second figure."""

RAW_LIMIT = 30_000_000
"""Bytes per second above which uncompressed video does not fit USB 2, so that JPEG is asked for."""


class Camera(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802

    def set(self, prop: int, value: float) -> bool: ...

    def read(self) -> tuple[bool, Any]: ...

    def release(self) -> None: ...


def open_camera(device: Device, size: tuple[int, int], rate: float) -> Camera:
    """Open a camera through V4L2 (elsewhere: the system's own way) and ask for a size and rate.

    :raises SourceError: there is no such device.
    """
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    linux = sys.platform.startswith("linux")
    if linux and not path.exists():
        raise SourceError(f"There is no camera at {path}; plug one in or choose another source.")
    camera = cv2.VideoCapture(device, cv2.CAP_V4L2 if linux else cv2.CAP_ANY)
    if size[0] * size[1] * 2 * rate > RAW_LIMIT:
        camera.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    camera.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    camera.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    camera.set(cv2.CAP_PROP_FPS, rate)
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return camera


class WebcamSource:
    """Frames of a camera, newest first: those that nobody read in time are skipped (see `Source`).

    A thread of its own reads the camera, because that call may block for seconds. When it is silent too
    long or fails, that thread is left to itself and a new one reopens the camera, again and again with
    growing pauses, until it is back.

    :param device: number or device file.
    :param size: width and height to ask for; the frames have what the camera gives.
    :param rate: frames per second to ask for.
    :param factory: opens the camera (`open_camera`).
    :ivar reopened: how many attempts to reopen were made.
    :raises ConfigError: the size or rate is out of range.
    """

    paced = True

    def __init__(
        self,
        device: Device = 0,
        *,
        size: tuple[int, int] = (640, 480),
        rate: float = 30.0,
        factory: Callable[[Device, tuple[int, int], float], Camera] = open_camera,
        open_seconds: float = OPEN_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        backoff: tuple[float, float] = BACKOFF,
    ) -> None:
        if not all(1 <= side <= 16384 for side in size):
            raise ConfigError(f"A camera cannot have {size[0]}x{size[1]} pixels; ask for a real size.")
        self.name = f"webcam:{device}"
        self.rate: float | None = check_rate(rate)
        self._start: Callable[[], Camera] = lambda: factory(device, size, rate)
        self._open_seconds = open_seconds
        self._stall_seconds = stall_seconds
        self._backoff = backoff
        self._news = threading.Condition()
        self._interrupted = False
        self._grabber: _Grabber | None = None
        self._index = 0

    def open(self) -> None:
        """Open the camera and wait for its first frame.

        :raises SourceError: there is no camera, it is in use, or it gives no frame.
        """
        self._grabber = _Grabber(self._start, self._news)
        if not self._await_frame(self._open_seconds) and not self._interrupted:
            reason = self._grabber.error or "it gives no frame"
            self._abandon()
            if isinstance(reason, SourceError):
                raise reason
            raise SourceError(
                f"Cannot use {self.name} ({reason}); check that no other program uses it, or choose another."
            )

    def read(self) -> Frame | None:
        """The newest frame not read yet; waits, and sees to the camera meanwhile; see `Source.read`."""
        pause = self._backoff[0]
        patience = self._stall_seconds
        lost = False
        while not self._await_frame(patience):
            if self._interrupted:
                return None
            self._reopen(pause, tell=not lost)
            lost = True
            pause = min(pause * 2, self._backoff[1])
            patience = self._open_seconds
        if self._interrupted:
            return None
        if lost:
            log.info("%s is back.", self.name)
        assert self._grabber is not None
        image, captured, passed = self._grabber.take()
        index = self._index + passed
        self._index = index + 1
        return Frame(image, captured, index, self.name)

    def interrupt(self) -> None:
        """See `Source.interrupt`."""
        with self._news:
            self._interrupted = True
            self._news.notify_all()

    def close(self) -> None:
        """Release the camera, without waiting for it longer than a moment."""
        grabber = self._abandon()
        if grabber is not None:
            grabber.join(0.5)

    def _await_frame(self, seconds: float) -> bool:
        """Wait for a frame, a failure or an interruption; whether there is a frame."""
        grabber = self._grabber
        assert grabber is not None, "open comes before read"
        with self._news:
            self._news.wait_for(lambda: self._interrupted or grabber.ready or grabber.failed, seconds)
            return grabber.ready

    def _reopen(self, pause: float, tell: bool) -> None:
        grabber = self._abandon()
        if tell:
            reason = (grabber and grabber.error) or f"silent for {self._stall_seconds:g} s"
            log.warning("%s is lost (%s); trying to reopen it until it is back.", self.name, reason)
        with self._news:
            self._news.wait_for(lambda: self._interrupted, pause)
        self._grabber = _Grabber(self._start, self._news)

    def _abandon(self) -> _Grabber | None:
        grabber = self._grabber
        if grabber is not None:
            grabber.abandoned.set()
        return grabber


class _Grabber:
    """Reads one opened camera on a daemon thread until it fails or is abandoned, and releases it."""

    def __init__(self, start: Callable[[], Camera], news: threading.Condition) -> None:
        self.abandoned = threading.Event()
        self.error: Exception | str | None = None
        self.failed = False
        self._start = start
        self._news = news
        self._newest: tuple[Array, float] | None = None
        self._passed = 0
        self._thread = threading.Thread(target=self._run, name="prosopon-webcam", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether there is a frame to take."""
        return self._newest is not None

    def take(self) -> tuple[Array, float, int]:
        """The newest frame, when it was captured, and how many before it were passed over."""
        with self._news:
            assert self._newest is not None
            image, captured = self._newest
            passed, self._passed, self._newest = self._passed, 0, None
            return image, captured, passed

    def join(self, seconds: float) -> None:
        """Wait that long for the thread."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._grab()
        except Exception as error:  # a driver's own exceptions must end in a reopening, too
            self.error = error
        with self._news:
            self.failed = True
            self._news.notify_all()

    def _grab(self) -> None:
        camera = self._start()
        try:
            if not camera.isOpened():
                self.error = "it cannot be opened"
                return
            while not self.abandoned.is_set():
                good, picture = camera.read()
                captured = time.monotonic()
                if not good or picture is None:
                    self.error = "it stopped giving frames"
                    return
                self._publish(picture, captured)
        finally:
            camera.release()

    def _publish(self, picture: Array, captured: float) -> None:
        try:
            image = _bgr_to_rgb(picture)
        except InputError as error:
            # A broken frame is as good as none: if no good one follows, the watchdog acts.
            log.debug("A frame of the camera is left out: %s", error)
            return
        with self._news:
            self._passed += self._newest is not None
            self._newest = (image, captured)
            self._news.notify_all()


def _bgr_to_rgb(picture: Array) -> Array:
    image = to_rgb(picture, "The camera's frame")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
