"""Videos decoded on the GPU: the frames of a made-up decoder, every way back to the CPU, and a GPU's own."""

from __future__ import annotations

import ctypes
import gc
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from compute.host_driver import HostDriver, compiler
from sources.source_helpers import corners, frames, number_of, numbered, write_video

from stream.compute.crop_normalize import crop_normalize
from stream.compute.cuda.arrays import empty, to_host
from stream.compute.cuda.current import current_driver, use_driver, why_no_driver
from stream.compute.nv12 import BT601, PitchedNv12, decoding
from stream.errors import BackendError, ConfigError, SourceError
from stream.geometry import image_from_crop
from stream.sources import nvdec, video
from stream.sources.colour import ColourConverter
from stream.sources.factory import open_source
from stream.sources.file import FileSource
from stream.sources.nvdec import NvdecFile, open_video
from stream.sources.video import VideoFile
from stream.types import Array, Crop, Frame

PITCH = 256


class Driver(HostDriver):
    """Runs what the made-up decoder has queued only when the default stream is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.decoding: list[Any] = []
        self.inside = False

    @contextmanager
    def current(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def synchronize(self, stream: Any) -> None:
        super().synchronize(stream)
        assert stream is self.default_stream, "the decoder works on the default stream"
        while self.decoding:
            self.decoding.pop(0)()


class Plane:
    def __init__(self, driver: Driver, samples: Array, pitch: int) -> None:
        self.height, self.line_size = len(samples), pitch
        self.memory = empty(driver, (self.height, pitch), np.uint8)
        self.buffer_ptr = self.memory.pointer
        rows = np.full((self.height, pitch), 200, np.uint8)
        rows[:, : samples.shape[1]] = samples
        driver.decoding.append(lambda: ctypes.memmove(self.buffer_ptr, rows.ctypes.data, rows.nbytes))


class HardwareFrame:
    """What PyAV gives of a CUDA frame, made of one of the CPU's."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()
    downloads = 0
    pitches = (PITCH, PITCH)
    width = 64

    def __init__(self, frame: av.VideoFrame, driver: Driver) -> None:
        deep = max(part.bits for part in frame.format.components) > 8
        self.soft = frame.reformat(format="p010le" if deep else "nv12")
        self.format, self.sw_format = av.VideoFormat("cuda"), self.soft.format
        self.height, self.time = frame.height, frame.time
        self.colorspace, self.color_range = frame.colorspace, frame.color_range
        self.color_trc, self.color_primaries = frame.color_trc, frame.color_primaries
        self.interlaced_frame = frame.interlaced_frame
        self.is_corrupt, self.side_data = frame.is_corrupt, frame.side_data
        if not deep:
            samples = self.soft.to_ndarray()
            parts = samples[: frame.height], samples[frame.height :]
            self.planes = tuple(
                Plane(driver, part, pitch) for part, pitch in zip(parts, self.pitches, strict=True)
            )
        HardwareFrame.alive.add(self)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A GPU that decodes whatever the CPU does."""
    host, opened, decoded = Driver(), av.open, VideoFile._frames
    converted = ColourConverter.rgb
    HardwareFrame.downloads = 0

    def open_with(*place: str, hwaccel: Any = None, **options: Any) -> Any:
        if hwaccel is not None:
            assert host.inside, "FFmpeg is to find our context"
            assert hwaccel.is_hw_owned
            # The options PyAV would give FFmpeg, its own defaults added.
            assert (hwaccel.options["primary_ctx"], hwaccel.options["current_ctx"]) == ("0", "1")
        return opened(*place, **options)

    def frames_of(self: NvdecFile) -> Iterator[Any]:
        for frame in decoded(self):
            yield HardwareFrame(frame, host)

    def rgb_of(self: ColourConverter, frame: Any) -> Array:
        HardwareFrame.downloads += isinstance(frame, HardwareFrame)
        return converted(self, getattr(frame, "soft", frame))

    monkeypatch.setattr(video.av, "open", open_with)
    monkeypatch.setattr(ColourConverter, "rgb", rgb_of)
    monkeypatch.setattr(NvdecFile, "_frames", frames_of)
    with use_driver(host):
        yield host


def clip(path: Path, count: int = 6, **options: Any) -> Path:
    settings = {"codec": "libx264", "pixels": "yuv420p"} | options
    return write_video(path, numbered(count, (64, 48)), **settings)


def ramps(width: int = 64, height: int = 48) -> Array:
    """A picture without edges, for chroma of half the size; its four corners differ."""
    row, column = np.mgrid[:height, :width].astype(float)
    across, down = column / width, row / height
    return (60 + 130 * np.stack([across, down, 1 - across], axis=2)).astype(np.uint8)


def play(path: Path, **options: Any) -> list[Frame]:
    return list(frames(FileSource(path, fast=True, decode="nvdec", **options)))


def crop_of(picture: Any, layout: str) -> Array:
    """(3, 16, 16) grey levels of its middle."""
    made = crop_normalize([picture], [0], image_from_crop(Crop(32.0, 24.0, 20.0, 0.2), 16)[None], 16, layout)
    if not isinstance(made, np.ndarray):
        made = to_host(current_driver(), made)
    return (made[0].astype(float) + 1) * 127.5


def test_each_frame_is_on_both_sides(tmp_path: Path, driver: Driver) -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    path = write_video(tmp_path / "a.mp4", [ramps()] * 3, codec="libx264", pixels="yuv420p")
    expected = list(frames(FileSource(path, fast=True)))
    played = play(path)
    assert len(played) == 3
    for frame, soft in zip(played, expected, strict=True):
        assert np.abs(frame.image.astype(int) - soft.image).max() <= 5
        assert soft.device is None
        device = frame.device
        assert isinstance(device, PitchedNv12)
        assert (device.width, device.height, device.pitch) == (64, 48, PITCH)
        assert device.driver is driver
        assert device.decoding == BT601
        assert np.abs(crop_of(device, "nv12") - crop_of(frame.image, "rgb")).max() < 5
    assert HardwareFrame.downloads == 3


def test_no_frame_is_lost_and_the_file_can_be_looped(tmp_path: Path, driver: Driver) -> None:
    path = clip(tmp_path / "a.mp4", 4)
    assert [number_of(frame.image) for frame in play(path)] == [0, 1, 2, 3]
    source = open_source(str(path), fast=True, loop=True, decode="nvdec")
    source.open()
    played = [source.read() for _ in range(6)]
    source.close()
    assert [number_of(frame.image) for frame in played if frame] == [0, 1, 2, 3, 0, 1]
    assert all(frame is not None and frame.device is not None for frame in played)


def test_a_picture_is_complete_when_it_is_given(tmp_path: Path, driver: Driver) -> None:
    for frame in frames(FileSource(clip(tmp_path / "a.mp4"), fast=True, decode="nvdec")):
        luma = to_host(HostDriver(), frame.device.luma)
        assert luma[:, :64].max() < 200
        assert not driver.decoding
        assert np.abs(luma[:, :64].astype(int) - luma[0, 0]).max() <= 2


def test_frames_free_their_memory(tmp_path: Path, driver: Driver) -> None:
    source = FileSource(clip(tmp_path / "a.mp4", 12), fast=True, decode="nvdec")
    most, kept = 0, []
    for number, frame in enumerate(frames(source)):
        kept += [frame] if number < 2 else []
        gc.collect()
        most = max(most, len(HardwareFrame.alive))
    # The two that are kept, the one shown, and the one that is decoded next.
    assert most <= 4
    del frame
    gc.collect()
    assert len(HardwareFrame.alive) == 2
    assert [number_of(frame.image) for frame in kept] == [0, 1]


@pytest.mark.parametrize(
    ("standard", "full", "expected"),
    [
        ("bt709", "tv", decoding(0.2126, 0.0722)),
        ("smpte170m", "tv", BT601),
        ("smpte170m", "pc", decoding(0.299, 0.114, full_range=True)),
    ],
)
def test_the_files_colours_are_told(
    tmp_path: Path, driver: Driver, standard: str, full: str, expected: Any
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.options = {"colorspace": standard, "color_range": full}
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode())
    device = play(path)[0].device
    assert device is not None
    assert device.decoding == pytest.approx(expected)


def back_to_the_cpu(path: Path, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    with caplog.at_level(logging.INFO):
        played = play(path)
    assert played
    assert all(frame.device is None for frame in played)
    (record,) = [record for record in caplog.records if "is decoded on the CPU" in record.message]
    assert record.levelno == logging.INFO
    assert reason in record.message
    assert path.name in record.message


def test_what_the_host_must_change_goes_the_cpus_way(
    tmp_path: Path, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    odd: list[dict[str, Any]] = [
        {"rotation": 90},
        {"rotation": 180},
        {"aspect": Fraction(4, 3)},
        {"pixels": "yuv420p10le"},
    ]
    for number, options in enumerate(odd):
        caplog.clear()
        back_to_the_cpu(clip(tmp_path / f"{number}.mp4", **options), caplog, "cannot be used")


@pytest.mark.parametrize(("attribute", "value"), [("pitches", (PITCH, PITCH + 32)), ("width", 63)])
def test_planes_no_kernel_reads_go_the_cpus_way(
    tmp_path: Path,
    driver: Driver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    attribute: str,
    value: Any,
) -> None:
    monkeypatch.setattr(HardwareFrame, attribute, value)
    back_to_the_cpu(clip(tmp_path / "a.mp4"), caplog, "cannot be used")


def test_frames_of_the_cpu_go_the_cpus_way(
    tmp_path: Path, driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PyAV gives them where the GPU does not know the codec or profile."""
    monkeypatch.delattr(NvdecFile, "_frames")
    back_to_the_cpu(clip(tmp_path / "a.mp4"), caplog, "cannot be used")


def test_a_build_without_cuda_is_told(
    tmp_path: Path, driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvdec, "hwdevices_available", lambda: ["qsv", "drm"])
    back_to_the_cpu(clip(tmp_path / "a.mp4"), caplog, "without CUDA")


def test_a_refusal_of_ffmpeg_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """FFmpeg finds no CUDA, or no context of ours, because this driver makes none."""
    with use_driver(HostDriver()):
        if why_no_driver() is None and Path("/dev/nvidiactl").exists():
            pytest.skip("a context of another test may be current here")
        back_to_the_cpu(clip(tmp_path / "a.mp4"), caplog, "Cannot open a.mp4")


def test_a_machine_without_a_gpu_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if (reason := why_no_driver()) is None:
        pytest.skip("there is a GPU")
    back_to_the_cpu(clip(tmp_path / "a.mp4"), caplog, reason)


def test_what_is_no_video_is_the_same_sentence(tmp_path: Path, driver: Driver) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(np.random.default_rng(5).bytes(5000))
    with pytest.raises(SourceError, match=r"Cannot open bad\.mp4"):
        play(path)


def test_an_unknown_decoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cpu, nvdec"):
        FileSource(tmp_path / "a.mp4", decode="cuvid")


def test_a_gpus_own_frames(tmp_path: Path) -> None:
    """On a machine that has NVDEC: what the GPU keeps is what the CPU decodes."""
    if (reason := why_no_driver()) is not None:
        pytest.skip(reason)
    path = write_video(tmp_path / "a.mp4", [ramps(256, 144)] * 8, codec="libx264", pixels="yuv420p")
    try:
        NvdecFile(path).close()
    except (BackendError, SourceError) as error:
        pytest.skip(str(error))
    expected = list(frames(FileSource(path, fast=True)))
    for frame, soft in zip(play(path), expected, strict=True):
        assert np.abs(frame.image.astype(int) - soft.image).max() <= 5
        assert np.abs(crop_of(frame.device, "nv12") - crop_of(soft.image, "rgb")).max() < 5
    assert open_video(path).rate == 25
