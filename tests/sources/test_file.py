"""Video files: every frame, the right way up, in time, and damage survived."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from shared_folder import SHARED
from sources.source_helpers import corners, frames, number_of, numbered, write_video

from stream.errors import ConfigError, SourceError
from stream.sources import convert
from stream.sources.file import FileSource
from stream.types import Frame


def play(path: Path) -> list[Frame]:
    return list(frames(FileSource(path, fast=True)))


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mp4", "libx264", "yuv420p"), ("a.mov", "mpeg4", "yuv420p"), ("a.mkv", "ffv1", "bgr0")],
)
def test_every_frame_of_common_formats(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    path = write_video(tmp_path / name, numbered(12), codec=codec, pixels=pixels)
    played = play(path)
    assert [number_of(frame.image) for frame in played] == list(range(12))
    assert [frame.index for frame in played] == list(range(12))
    for frame in played:
        assert (frame.image.shape, frame.image.dtype, frame.source) == ((24, 32, 3), np.uint8, name)
        assert frame.image.flags.c_contiguous
    steps = np.diff([frame.captured for frame in played])
    assert steps == pytest.approx(1 / 25, abs=1e-3)


def test_lossless_colours_come_back_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    assert np.array_equal(play(write_video(tmp_path / "a.mkv", [picture]))[0].image, picture)


def test_gif(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.gif", numbered(5), codec="gif", pixels="rgb8", rate=10)
    played = play(path)
    assert len(played) == 5
    assert np.diff([frame.captured for frame in played]) == pytest.approx(0.1, abs=1e-6)
    assert np.diff([float(frame.image.mean()) for frame in played]).min() >= 0


def test_odd_sizes(tmp_path: Path) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (17, 33, 3), dtype=np.uint8)
    assert np.array_equal(play(write_video(tmp_path / "a.mkv", [picture]))[0].image, picture)


def test_grey(tmp_path: Path) -> None:
    grey = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32).astype(np.uint8)
    path = write_video(tmp_path / "a.mkv", [grey], pixels="gray", source_format="gray")
    assert np.array_equal(play(path)[0].image, np.repeat(grey[..., None], 3, 2))


def test_16_bit_is_scaled_not_clipped(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    path = write_video(tmp_path / "a.mkv", [deep], pixels="gray16le", source_format="gray16le")
    image = play(path)[0].image
    assert np.abs(image[..., 1] - deep / 257).max() <= 1
    assert (image.min(), image.max()) == (0, 255)


def test_alpha_is_laid_over_black(tmp_path: Path) -> None:
    picture = np.full((24, 32, 4), 200, np.uint8)
    picture[:12, :, 3] = 0
    picture[12:, :, 3] = 255
    path = write_video(tmp_path / "a.mkv", [picture], pixels="bgra", source_format="rgba")
    image = play(path)[0].image
    assert image[:12].max() == 0
    assert image[12:].min() == 200


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_in_the_file_is_honoured(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    path = write_video(
        tmp_path / "a.mp4", [corners()] * 2, codec="libx264", pixels="yuv444p", rotation=rotation,
        mirrored=mirrored,
    )  # fmt: skip
    expected = np.rot90(corners(), rotation // 90)
    expected = expected[:, ::-1] if mirrored else expected
    image = play(path)[1].image
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [(Fraction(4, 3), (48, 85, 3)), (Fraction(1, 2), (96, 64, 3)), (Fraction(1000, 1), (48, 64, 3))],
)
def test_pixels_become_square(tmp_path: Path, aspect: Fraction, shape: tuple[int, ...]) -> None:
    path = write_video(tmp_path / "a.mp4", [corners()] * 2, codec="libx264", pixels="yuv444p", aspect=aspect)
    image = play(path)[0].image
    assert image.shape == shape
    height, width, _ = shape
    assert image[height // 4, width // 4].min() > 240
    assert image[height // 4, 3 * width // 4].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert image[3 * height // 4, width // 4].tolist() == pytest.approx([0, 255, 0], abs=12)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    stamps = [0, 40, 200, 210, 500]
    path = write_video(tmp_path / "a.mkv", numbered(5), milliseconds=stamps)
    times = [frame.captured for frame in play(path)]
    assert [time - times[0] for time in times] == pytest.approx([s / 1000 for s in stamps], abs=2e-3)


def test_a_jump_in_time_is_not_waited_for(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(3), milliseconds=[0, 40, 90_000_000])
    times = [frame.captured for frame in play(path)]
    assert times[2] - times[0] < 1


def test_a_rate_replaces_the_time_stamps(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(4)), rate=50, fast=True)
    assert np.diff([frame.captured for frame in frames(source)]) == pytest.approx(0.02)


def test_loops_without_a_break_in_time_or_count(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(4)), loop=True, fast=True)
    source.open()
    played = [source.read() for _ in range(10)]
    source.close()
    assert [number_of(frame.image) for frame in played if frame] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert [frame.index for frame in played if frame] == list(range(10))
    assert np.diff([frame.captured for frame in played if frame]) == pytest.approx(0.04, abs=1e-3)


def test_paced_frames_come_when_they_are_due(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(5), rate=50))
    assert source.paced
    begun = time.monotonic()
    played = list(frames(source))
    assert time.monotonic() - begun >= 0.08
    assert [frame.index for frame in played] == sorted(frame.index for frame in played)
    assert source.rate == 50


def test_a_late_frame_is_skipped_and_counted(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(20), rate=100))
    source.open()
    first = source.read()
    time.sleep(0.06)
    second = source.read()
    source.close()
    assert first is not None
    assert second is not None
    # 5 frames were overtaken in those 60 ms; a machine busy for over 100 ms starts the pace anew instead.
    assert second.index >= 5 or second.captured - first.captured > 0.1
    assert second.index == number_of(second.image)


def test_interrupt_ends_a_wait(tmp_path: Path) -> None:
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(3), milliseconds=[0, 9000, 9040]))
    source.open()
    assert source.read() is not None
    threading.Timer(0.05, source.interrupt).start()
    assert source.read() is None
    assert source.read() is None
    source.close()
    source.close()


def test_a_truncated_file_gives_what_decodes_then_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (10, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mkv", list(noise))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 5 // 10])
    played = play(path)
    assert 3 <= len(played) <= 6
    for frame, picture in zip(played[:-1], noise, strict=False):
        assert np.array_equal(frame.image, picture)
    assert "a.mkv ended early: 0.2 of 0.4 s" in caplog.text


def test_a_download_that_broke_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    source = FileSource(SHARED / "data/cases/truncated_download.mp4", fast=True, loop=True)
    source.open()
    played = [source.read() for _ in range(2 * 39 + 1)]
    source.close()
    assert all(frame is not None for frame in played)
    early = [record.getMessage() for record in caplog.records if "ended early" in record.getMessage()]
    assert early == ["truncated_download.mp4 ended early: 1.5 of 2.0 s are there; the file is not whole."]


def test_a_video_whose_sound_goes_on_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.mp4", "a.mkv"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
            audio = container.add_stream("aac", rate=8000)
            for picture in numbered(5):
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode())
            for _ in range(16):
                quiet = np.zeros((1, 1024), np.float32)
                sound = av.AudioFrame.from_ndarray(quiet, format="fltp", layout="mono")
                sound.sample_rate = 8000
                container.mux(audio.encode(sound))
            container.mux(audio.encode())
        assert len(play(path)) == 5
    assert caplog.text == ""


def test_damage_in_the_middle_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.mp4", list(noise), codec="png", pixels="rgb24")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        played = play(path)
    assert len(played) in (10, 11)
    assert np.array_equal(played[0].image, noise[0])
    assert np.array_equal(played[-1].image, noise[-1])
    assert "is damaged" in caplog.text


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(5).bytes(5000))


def text(path: Path) -> None:
    path.write_text("This is not a video.\n" * 50)


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")


def no_index(path: Path) -> None:
    whole = write_video(path, numbered(5), codec="libx264", pixels="yuv420p").read_bytes()
    path.write_bytes(whole[: whole.rindex(b"moov")])


def nothing_decodes(path: Path) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    content = bytearray(write_video(path, list(noise), codec="png", pixels="rgb24").read_bytes())
    start = content.index(b"mdat")
    content[start + 4 : start + 27000] = bytes(27000 - 4)
    path.write_bytes(content)


def missing(path: Path) -> None:
    assert not path.exists()


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [empty, garbage, text, playlist, no_index, nothing_decodes, missing, folder]
)
def test_what_gives_no_frame_at_all_is_a_sentence(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "bad.mp4"
    spoil(path)
    with pytest.raises(SourceError, match=r"bad\.mp4.*\.$"):
        play(path)


def test_sound_alone_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout=stream.layout.name)
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="no video"):
        play(path)


def test_too_large_pictures_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "MAX_PIXELS", 32 * 24 - 1)
    source = FileSource(write_video(tmp_path / "a.mkv", numbered(1)))
    with pytest.raises(SourceError, match="32x24"):
        source.open()


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan"), 1e9])
def test_impossible_rates_are_sentences(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ConfigError, match="frames per second"):
        FileSource(tmp_path / "a.mkv", rate=rate)
