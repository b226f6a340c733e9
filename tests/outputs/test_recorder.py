from __future__ import annotations

import errno
import resource
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import psutil
import pytest

from stream.errors import ConfigError, InputError, OutputError
from stream.outputs.recorder import VideoRecorder
from stream.types import Capture, Frame


def picture(width=64, height=48, level=0):
    """A smooth picture whose brightness tells which one it is."""
    y, x = np.mgrid[:height, :width]
    channels = [60 + level + 40 * x / width, 100 + 0 * x, 140 - 40 * y / height]
    return np.stack(channels, axis=-1).astype(np.uint8)


def record(path, pictures, times=None, rate=30.0):
    recorder = VideoRecorder(path, rate)
    recorder.open()
    for i, image in enumerate(pictures):
        recorder.write(image, times[i] if times else i / rate)
    recorder.close()
    return recorder


def play(path):
    """Times (seconds) and pictures of a video."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    return [float(f.pts * f.time_base) for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


def test_pictures_come_back_at_their_times(tmp_path):
    times = [50.0, 50.03, 50.07, 50.2, 50.21, 51.5]
    pictures = [picture(level=15 * i) for i in range(6)]
    recorder = record(tmp_path / "new" / "x.mp4", pictures, times)
    assert recorder.frames == 6
    assert recorder.finished
    got_times, got = play(tmp_path / "new" / "x.mp4")
    np.testing.assert_allclose(got_times, np.array(times) - 50.0, atol=1e-4)
    for one, other in zip(got, pictures, strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < 4


@pytest.mark.parametrize("colour", [(230, 20, 20), (20, 200, 40), (30, 40, 220), (255, 255, 255), (0, 0, 0)])
def test_colours_survive(tmp_path, colour):
    image = np.full((48, 64, 3), colour, dtype=np.uint8)
    record(tmp_path / "x.mp4", [image] * 3)
    _, (first, *_) = play(tmp_path / "x.mp4")
    np.testing.assert_allclose(first[24, 32], colour, atol=6)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert next(container.decode(video=0)).colorspace == 1  # BT.709, as it was converted


def test_it_can_be_played_while_it_downloads(tmp_path):
    record(tmp_path / "x.mp4", [picture()] * 4)
    data = (tmp_path / "x.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("width", "height"), [(63, 47), (1, 1), (64, 49), (2, 301)])
def test_odd_sizes_become_even_without_losing_pixels(tmp_path, width, height):
    image = picture(width, height)
    record(tmp_path / "x.mp4", [image] * 2)
    _, (first, _) = play(tmp_path / "x.mp4")
    assert first.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(first[:height, :width].astype(int) - image).mean() < 8


def test_a_size_that_changes_is_fitted_into_the_first(tmp_path):
    red = np.full((100, 50, 3), (220, 20, 20), dtype=np.uint8)
    record(tmp_path / "x.mp4", [picture(100, 60), red, picture(99, 60), picture(100, 60)])
    _, got = play(tmp_path / "x.mp4")
    assert [frame.shape for frame in got] == [(60, 100, 3)] * 4
    assert got[1][30, 50, 0] > 190
    assert got[1][30, 25].max() < 40
    assert got[1][30, 75].max() < 40


def test_times_that_stand_still_or_go_back_keep_the_order(tmp_path):
    pictures = [picture(level=20 * i) for i in range(5)]
    record(tmp_path / "x.mp4", pictures, [1.0, 1.0, 0.5, 1.0, 2.0])
    times, got = play(tmp_path / "x.mp4")
    assert len(got) == 5
    assert all(later > earlier for earlier, later in pairwise(times))
    assert times[-1] == pytest.approx(1.0, abs=1e-3)
    levels = [frame[..., 0].mean() for frame in got]
    assert levels == sorted(levels)


def test_as_a_stage_it_records_pictures_and_passes_captures_on(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4", 30)
    assert recorder.name == "record"
    recorder.open()
    for i in range(4):
        frame = Frame(picture(), 10 + i / 30, i, "test")
        capture = Capture(frame, picture=picture(level=20 * i) if i != 1 else None)
        assert recorder(capture) is capture
    recorder.close()
    times, _ = play(tmp_path / "x.mp4")
    np.testing.assert_allclose(times, [0, 2 / 30, 3 / 30], atol=1e-4)


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"older")
    recorder = VideoRecorder(path)
    recorder.open()
    recorder.write(picture(), 0.0)
    assert path.read_bytes() == b"older"
    recorder.close()
    recorder.close()
    assert len(play(path)[1]) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_without_pictures_there_is_no_file(tmp_path):
    assert not record(tmp_path / "x.mp4", []).finished
    assert not list(tmp_path.iterdir())


def test_closing_writes_little_however_long_the_video_is(tmp_path):
    """What is left to write at the end is a bounded rest, and nothing of the file is read or moved again."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (8, 120, 160, 3), dtype=np.uint8)
    process = psutil.Process()
    moved = []
    for count in (60, 900):
        recorder = VideoRecorder(tmp_path / f"{count}.mp4")
        recorder.open()
        for i in range(count):
            recorder.write(noise[i % 8], i / 30)
        before = process.io_counters()
        recorder.close()
        after = process.io_counters()
        moved.append(after.write_chars - before.write_chars + after.read_chars - before.read_chars)
        assert recorder.finished
        assert len(play(recorder.path)[1]) == count
    size = (tmp_path / "900.mp4").stat().st_size
    assert max(moved) < size / 2  # moving the index to the front reads and writes all of it


def test_a_failure_between_pictures_leaves_a_file_that_plays(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    recorder.open()
    recorder.write(picture(), 0.0)
    with pytest.raises(InputError):
        recorder.write(picture().astype(np.float32), 0.1)
    recorder.write(picture(), 0.2)
    recorder.close()
    assert len(play(tmp_path / "x.mp4")[1]) == 2


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((48, 64), dtype=np.uint8),
        np.zeros((48, 64, 4), dtype=np.uint8),
        np.zeros((0, 64, 3), dtype=np.uint8),
        np.zeros((48, 64, 3), dtype=np.float64),
        np.broadcast_to(np.zeros(3, dtype=np.uint8), (2, 9000, 3)),
    ],
    ids=["grey", "alpha", "empty", "float", "huge"],
)
def test_bad_pictures_are_refused(tmp_path, bad):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    recorder.open()
    with pytest.raises(InputError, match="picture"):
        recorder.write(bad, 0.0)
    recorder.close()


def test_bad_times_rates_and_names_are_refused(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    with pytest.raises(InputError, match="not open"):
        recorder.write(picture(), 0.0)
    recorder.open()
    with pytest.raises(InputError, match="nan seconds"):
        recorder.write(picture(), float("nan"))
    recorder.close()
    for rate in (0, -5, float("nan"), 1e9):
        with pytest.raises(ConfigError, match="1 to 1000"):
            VideoRecorder(tmp_path / "x.mp4", rate)
    with pytest.raises(ConfigError, match=r"\.mp4"):
        VideoRecorder(tmp_path / "x.avi")


def test_unwritable_places_are_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "file" / "x.mp4", tmp_path / "folder.mp4"):
        recorder = VideoRecorder(path)
        with pytest.raises(OutputError, match=r"Cannot write .*choose another"):
            recorder.open()
        recorder.close()
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder.mp4"}


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    recorder.open()
    recorder.write(picture(), 0.0)

    class Full:
        """A container on a disk without room."""

        def __init__(self, container):
            self.close = container.close

        def mux(self, packet):
            raise OSError(errno.ENOSPC, "No space left on device")

    recorder._container = Full(recorder._container)
    with pytest.raises(OutputError, match="No space left"):
        recorder.close()
    assert not recorder.finished
    assert not list(tmp_path.iterdir())


def test_a_video_with_a_hole_in_it_is_not_finished(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    recorder.open()
    recorder.write(picture(), 0.0)

    class Broken:
        """A stream that fails once."""

        width, height = 64, 48

        def encode(self, frame):
            recorder._stream = stream
            raise OSError(errno.EIO, "Input/output error")

    stream, recorder._stream = recorder._stream, Broken()
    with pytest.raises(OutputError, match="Input/output"):
        recorder.write(picture(), 0.1)
    recorder.write(picture(), 0.2)
    with pytest.raises(OutputError, match="Input/output"):
        recorder.close()
    assert not recorder.finished
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_said_and_the_older_one_stays(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"older")
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    recorder = VideoRecorder(path)
    recorder.open()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # Python ignores the signal that comes with it
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        for i in range(20):
            recorder.write(np.roll(noise, i, axis=1), i / 30)
        with pytest.raises(OutputError, match="Cannot write"):
            recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not recorder.finished
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"older"


def test_memory_stays_flat(tmp_path):
    recorder = VideoRecorder(tmp_path / "x.mp4")
    recorder.open()
    image = picture(320, 240)
    process = psutil.Process()
    for i in range(400):
        recorder.write(np.roll(image, i, axis=1), i / 30)
        if i == 150:  # the encoder's look-ahead is full by now
            before = process.memory_info().rss
    assert process.memory_info().rss - before < 12e6  # 250 pictures of 230 kB would be 58 MB
    recorder.close()


def test_fractional_rates_are_kept(tmp_path):
    record(tmp_path / "x.mp4", [picture()] * 30, rate=30000 / 1001)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert abs(container.streams.video[0].average_rate - Fraction(30000, 1001)) < Fraction(1, 50)
