"""Pictures that lie on the device already: cut where they lie, frame by frame, in replayed graphs too."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from compute.host_driver import HostDriver, compiler
from device.device_network import CAMERA, SIZE, Network, capture_of, face_at
from people import depths_of
from skimage import data

from stream.compute.cuda.arrays import DeviceArray, to_device
from stream.compute.cuda.current import use_driver
from stream.compute.grid_views import grid_views
from stream.compute.nv12 import BT601, Decoding, PitchedNv12, decoding
from stream.device.frame import STEPS, WARM_UPS, DeviceFrame
from stream.device.stage import DeviceStage
from stream.device.surfaces import FramePasts
from stream.errors import InputError
from stream.geometry import image_from_crop
from stream.types import Array, Capture

PHOTO = data.astronaut()


class CountingDriver(HostDriver):
    """Counts the uploaded bytes, of graphs too."""

    uploaded = 0

    def upload(self, pointer: int, host: Array, stream: Any) -> None:
        def work() -> None:
            self.uploaded += host.nbytes

        self._queue(work)
        super().upload(pointer, host, stream)


@pytest.fixture
def driver() -> Iterator[CountingDriver]:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    host = CountingDriver()
    with use_driver(host):
        yield host


class Owner:
    """What keeps a picture's memory."""

    def __init__(self, *memory: DeviceArray) -> None:
        self.memory = memory


def on_device(driver: Any, image: Array, colours: Decoding = BT601, pitch: int = 640) -> PitchedNv12:
    """The image as NV12 (BT.601), in memory of its own."""
    height, width = image.shape[:2]
    planar = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    rows = np.full((height * 3 // 2, pitch), 77, np.uint8)
    rows[:height, :width] = planar[:height]
    chroma = planar[height:].reshape(2, height // 2, width // 2)
    rows[height:, :width] = chroma.transpose(1, 2, 0).reshape(height // 2, width)
    planes = to_device(driver, rows[:height]), to_device(driver, rows[height:])
    owner = Owner(*planes)
    luma, chroma = (replace(plane, owner=owner) for plane in planes)
    return PitchedNv12(luma, chroma, width, driver, colours)


def open_stage(driver: Any, **options: Any) -> DeviceStage:
    stage = DeviceStage(lambda: Network(driver), **{"faces": 2, "smooth": False, **options})
    stage.open()
    return stage


def having(capture: Capture, device: PitchedNv12 | None) -> Capture:
    return replace(capture, frame=replace(capture.frame, device=device))


def test_the_device_picture_is_what_is_cut(driver: CountingDriver) -> None:
    stage = open_stage(driver)
    capture = capture_of(PHOTO, 0, face_at(220, 110), face_at(300, 200, 1))
    expected = stage(capture)
    assert driver.uploaded > PHOTO.nbytes
    blank = replace(capture.frame, image=np.zeros_like(PHOTO), device=on_device(driver, PHOTO))
    before = driver.uploaded
    made = stage(replace(capture, frame=blank))
    assert driver.uploaded - before < PHOTO.nbytes / 10
    for a, b in zip(depths_of(made), depths_of(expected), strict=True):
        # NV12 holds half the chroma, which moves brightness by a level or two of 255 at edges.
        assert np.abs(a.map - b.map).mean() < 1e-3
        assert np.abs(b.map).mean() > 5e-3


def test_replayed_graphs_follow_the_pictures_address(driver: CountingDriver) -> None:
    replaying, singly = open_stage(driver), open_stage(driver, graphs=False)
    bt709, kept = decoding(0.2126, 0.0722), []
    for number in range(16):
        # Sizes and pitches change within one kind of frame, for they are in the table too.
        image = np.roll(PHOTO[: (512, 400)[number % 2]], 3 * number, axis=1)
        colours = (BT601, bt709, None)[number // 3 % 3]
        device = colours and on_device(driver, image, colours, pitch=(512, 640)[number % 2])
        kept.append(device)
        capture = having(capture_of(image if device else PHOTO, number), device)
        one, other = replaying(capture), singly(capture)
        np.testing.assert_array_equal(depths_of(one)[0].map, depths_of(other)[0].map)
        np.testing.assert_array_equal(one.meshes[0].vertices, other.meshes[0].vertices)
    assert len({picture.luma.pointer for picture in kept if picture}) == 12
    assert replaying.frame is not None
    assert replaying.frame.replayed == sum(count - WARM_UPS for count in (6, 6, 4))
    assert singly.frame is not None
    assert set(singly.frame.milliseconds) == set(STEPS)


def test_a_picture_of_another_driver_is_uploaded(driver: CountingDriver) -> None:
    stage, capture = open_stage(driver), capture_of(PHOTO, 0)
    elsewhere = replace(on_device(driver, np.zeros_like(PHOTO)), driver=HostDriver())
    before = driver.uploaded
    made = stage(having(capture, elsewhere))
    assert driver.uploaded - before > PHOTO.nbytes
    np.testing.assert_array_equal(depths_of(made)[0].map, depths_of(stage(capture))[0].map)


def test_a_picture_that_is_not_the_image_is_refused(driver: CountingDriver) -> None:
    stage, capture = open_stage(driver), capture_of(PHOTO, 0)
    good = on_device(driver, PHOTO)
    for bad, message in (
        (on_device(driver, PHOTO[:400]), "the image's size"),
        (replace(good, width=510), "the image's size"),
        (replace(good, chroma=good.chroma[:100]), "is not NV12"),
    ):
        with pytest.raises(InputError, match=message):
            stage(having(capture, bad))
    assert len(stage(having(capture, good)).meshes) == 1


def test_the_picture_is_kept_until_the_frame_is_finished(driver: CountingDriver) -> None:
    frame = DeviceFrame(driver, Network(driver), SIZE)
    matrix = image_from_crop(face_at(220, 110).crop, SIZE)[None]
    views = grid_views(matrix, CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy, 600, 80)
    nothing = np.zeros((1, 3), np.float32)
    pasts = FramePasts([0], np.zeros((1, SIZE, SIZE), np.float32), nothing, nothing)
    for _ in range(WARM_UPS + 2):
        device = on_device(driver, PHOTO)
        owner = weakref.ref(device.luma.owner)
        frame.begin(PHOTO, matrix, views, pasts, device)
        del device
        gc.collect()
        assert owner() is not None
        frame.finish()
        gc.collect()
        assert owner() is None
