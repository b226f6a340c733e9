"""The clock in the picture: exact after video coding and scaling, and silent where it cannot be read."""

import io

import av
import cv2
import numpy as np
import pytest

from stream.evaluation.clock_strip import read_clock, with_clock
from stream.evaluation.remote_parts import pictures_of
from stream.types import Array

START = 1_800_000_000_000_000


def through_vp8(pictures: list[Array], kbps: int, size: tuple[int, int]) -> list[Array]:
    """As a live encoder leaves them."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="webm") as file:
        stream = file.add_stream("libvpx", rate=30, options={"deadline": "realtime", "cpu-used": "-6"})
        stream.width, stream.height = size
        stream.bit_rate, stream.pix_fmt = kbps * 1000, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture, size), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    memory.seek(0)
    with av.open(memory) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


@pytest.mark.parametrize(("kbps", "size"), [(1000, (640, 512)), (250, (640, 512)), (300, (320, 256))])
def test_the_clock_survives_two_codecs(kbps: int, size: tuple[int, int]) -> None:
    times = [START + number * 33_333 for number in range(12)]
    sent = [with_clock(image, micros) for image, micros in zip(pictures_of("sample", 12), times, strict=True)]
    assert sent[0].shape == (512, 640, 3)
    received = through_vp8(through_vp8(sent, 500, (640, 512)), kbps, size)
    assert [read_clock(picture) for picture in received] == times


def test_the_picture_itself_is_left_alone() -> None:
    image = pictures_of("sample", 1)[0]
    np.testing.assert_array_equal(with_clock(image, START)[:480], image)


def test_times_that_differ_by_a_microsecond_are_told_apart() -> None:
    image = np.full((60, 64, 3), 90, np.uint8)
    read = [read_clock(with_clock(image, START + number)) for number in range(50)]
    assert read == list(range(START, START + 50))


def test_a_picture_without_a_clock_shows_none() -> None:
    rng = np.random.default_rng(0)
    shown = [read_clock(rng.integers(0, 256, (128, 96, 3), np.uint8)) for _ in range(400)]
    assert sum(one is not None for one in shown) <= 2, "one in 4096 passes the check by chance"
    assert read_clock(np.zeros((64, 64, 3), np.uint8)) is None
    assert read_clock(np.full((64, 64, 3), 255, np.uint8)) is None
