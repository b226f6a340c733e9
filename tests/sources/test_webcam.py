"""The camera's watchdog, driven by a fake camera that stalls, breaks and comes back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sources.source_helpers import wait_until

from stream.errors import ConfigError, SourceError
from stream.pipeline.run import run_pipeline
from stream.pipeline.runner import Pipeline
from stream.sources.webcam import WebcamSource, open_camera

BGR = np.zeros((4, 6, 3), np.uint8)
BGR[...] = (1, 2, 3)


class FakeCamera:
    """Gives ``pictures`` in turn, then waits (a stall), ends (an unplug) or raises, as ``then`` says."""

    def __init__(self, pictures: list[Any], then: str = "stall", opened: bool = True) -> None:
        self.released = threading.Event()
        self.unblock = threading.Event()
        self._pictures = iter(pictures)
        self._then = then
        self._opened = opened

    def isOpened(self) -> bool:  # noqa: N802
        return self._opened

    def set(self, prop: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.005)
        picture = next(self._pictures, None)
        if picture is not None:
            return True, picture
        if self._then == "raise":
            raise RuntimeError("the driver fell over")
        if self._then == "stall":
            self.unblock.wait(30)
        return False, None

    def release(self) -> None:
        self.released.set()


class Cameras:
    """A factory that hands out these cameras one after the other; a SourceError in the list is raised."""

    def __init__(self, *cameras: FakeCamera | SourceError) -> None:
        self.cameras = list(cameras)
        self.opened = 0

    def __call__(self, device: int | str, size: tuple[int, int], rate: float) -> FakeCamera:
        camera = self.cameras[min(self.opened, len(self.cameras) - 1)]
        self.opened += 1
        if isinstance(camera, SourceError):
            raise camera
        return camera


@pytest.fixture
def webcam() -> Iterator[Callable[..., WebcamSource]]:
    """Makes webcams on fake cameras with short times; afterwards no thread may be left."""
    before = set(threading.enumerate())
    made: list[tuple[WebcamSource, Cameras]] = []

    def make(*cameras: FakeCamera | SourceError, **options: Any) -> WebcamSource:
        factory = Cameras(*cameras)
        times = {"open_seconds": 0.3, "stall_seconds": 0.1, "backoff": (0.01, 0.04), **options}
        source = WebcamSource(0, factory=factory, **times)
        made.append((source, factory))
        return source

    yield make
    for source, factory in made:
        for camera in factory.cameras:
            if isinstance(camera, FakeCamera):
                camera.unblock.set()
        source.close()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_frames_are_rgb_numbered_and_timed(webcam: Callable[..., WebcamSource]) -> None:
    source = webcam(FakeCamera([BGR] * 5))
    begun = time.monotonic()
    source.open()
    frames = [source.read() for _ in range(3)]
    for frame in frames:
        assert frame is not None
        assert (frame.image.shape, frame.image.dtype) == ((4, 6, 3), np.uint8)
        assert frame.image[0, 0].tolist() == [3, 2, 1]
        assert frame.image.flags.c_contiguous
        assert begun <= frame.captured <= time.monotonic()
        assert frame.source == "webcam:0"
    indices = [frame.index for frame in frames if frame]
    assert indices == sorted(set(indices))


def test_what_nobody_read_in_time_shows_as_a_gap(webcam: Callable[..., WebcamSource]) -> None:
    pictures = [np.full((2, 2, 3), number, np.uint8) for number in range(10)]
    source = webcam(FakeCamera(pictures), stall_seconds=5)
    source.open()
    wait_until(lambda: source._grabber is not None and source._grabber._passed == 9)
    frame = source.read()
    assert frame is not None
    assert (frame.index, int(frame.image[0, 0, 0])) == (9, 9)


@pytest.mark.parametrize("then", ["stall", "unplug", "raise"])
def test_a_lost_camera_is_reopened_and_told_once(
    webcam: Callable[..., WebcamSource], caplog: pytest.LogCaptureFixture, then: str
) -> None:
    first, second = FakeCamera([BGR], then), FakeCamera([BGR] * 3)
    gone = SourceError("There is no camera.")
    source = webcam(first, gone, gone, FakeCamera([], opened=False), second)
    source.open()
    assert source.read() is not None
    with caplog.at_level(logging.INFO):
        frame = source.read()
    assert frame is not None
    assert frame.index == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "is lost" in messages[0]
    assert messages[1] == "webcam:0 is back."
    first.unblock.set()
    assert first.released.wait(5)


def test_the_pauses_grow_to_their_limit(
    webcam: Callable[..., WebcamSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = SourceError("There is no camera.")
    source = webcam(FakeCamera([BGR], "unplug"), *[gone] * 5, FakeCamera([BGR]))
    pauses: list[float] = []
    reopen = source._reopen
    monkeypatch.setattr(source, "_reopen", lambda pause, tell: (pauses.append(pause), reopen(pause, tell)))
    source.open()
    source.read()
    source.read()
    assert pauses == [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]


def test_broken_pictures_are_left_out(webcam: Callable[..., WebcamSource]) -> None:
    grey = np.full((4, 6), 9, np.uint8)
    bad = [np.full((4, 6, 3), np.nan, np.float32), np.zeros((0, 6, 3), np.uint8), np.zeros(3, np.uint8)]
    source = webcam(FakeCamera([*bad, grey]), stall_seconds=5)
    source.open()
    frame = source.read()
    assert frame is not None
    assert frame.image.tolist() == np.full((4, 6, 3), 9).tolist()


def test_frames_keep_the_size_the_camera_gives(webcam: Callable[..., WebcamSource]) -> None:
    source = webcam(FakeCamera([np.zeros((5, 9, 3), np.uint8)]), size=(1280, 720))
    source.open()
    frame = source.read()
    assert frame is not None
    assert frame.image.shape == (5, 9, 3)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (SourceError("There is no camera at 7."), "no camera at 7"),
        (FakeCamera([], opened=False), "cannot be opened"),
        (FakeCamera([], "unplug"), "stopped giving frames"),
        (FakeCamera([], "stall"), "gives no frame"),
        (FakeCamera([], "raise"), "fell over"),
    ],
)
def test_no_camera_is_a_sentence(
    webcam: Callable[..., WebcamSource], camera: FakeCamera | SourceError, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        webcam(camera).open()


def test_interrupt_ends_a_wait_for_a_camera_that_is_gone(webcam: Callable[..., WebcamSource]) -> None:
    gone = SourceError("There is no camera.")
    source = webcam(FakeCamera([BGR], "unplug"), gone, backoff=(60.0, 60.0))
    source.open()
    assert source.read() is not None
    threading.Timer(0.05, source.interrupt).start()
    assert source.read() is None


def test_a_stalled_camera_does_not_hold_up_the_end_of_a_run(webcam: Callable[..., WebcamSource]) -> None:
    class Stage:
        name = "stage"

        def open(self) -> None: ...

        def __call__(self, capture: Any) -> Any:
            return capture

        def close(self) -> None: ...

    source = webcam(FakeCamera([BGR] * 3, "stall"), stall_seconds=60)
    summary = run_pipeline(Pipeline(source, [Stage()], duration=0.2))
    assert summary.reason == "duration"
    assert summary.abandoned == ()


def test_a_device_that_does_not_exist_is_a_sentence() -> None:
    with pytest.raises(SourceError, match="no camera at /dev/video987"):
        open_camera(987, (640, 480), 30.0)


def test_impossible_requests_are_sentences() -> None:
    with pytest.raises(ConfigError, match="0x480"):
        WebcamSource(size=(0, 480))
    with pytest.raises(ConfigError, match="frames per second"):
        WebcamSource(rate=0)
