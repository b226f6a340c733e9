"""The stream that is played is the video, not its cover, preview or data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from sources.source_helpers import frames, number_of, numbered, write_video

from stream.errors import SourceError
from stream.sources.file import FileSource
from stream.types import Array

SMALL, LARGE = (16, 12), (64, 48)


def shapes(path: Path) -> list[tuple[int, ...]]:
    return [frame.image.shape for frame in frames(FileSource(path, fast=True))]


def write_streams(path: Path, streams: list[tuple[tuple[int, int], Disposition]]) -> Path:
    """A file with several video streams of three frames, by width, height and disposition."""
    with av.open(str(path), "w") as container:
        outs = []
        for (width, height), disposition in streams:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
            stream.disposition = disposition
            outs.append(stream)
        for stream in outs:
            for picture in numbered(3, (stream.width, stream.height)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return path


NONE, DEFAULT = Disposition(0), Disposition.default


@pytest.mark.parametrize(
    ("streams", "size"),
    [
        ([(SMALL, NONE), (LARGE, NONE)], LARGE),
        ([(SMALL, DEFAULT), (LARGE, DEFAULT)], LARGE),
        ([(LARGE, NONE), (SMALL, DEFAULT)], SMALL),
        ([(LARGE, Disposition.visual_impaired | DEFAULT), (SMALL, NONE)], SMALL),
    ],
)
def test_the_default_then_the_largest(
    tmp_path: Path, streams: list[tuple[tuple[int, int], Disposition]], size: tuple[int, int]
) -> None:
    assert shapes(write_streams(tmp_path / "a.mkv", streams)) == [(size[1], size[0], 3)] * 3


def write_cover(path: Path, with_video: bool) -> Path:
    """Sound (or a video) with a cover before it, as music players and shops write it."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 300, 300, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        stream = container.add_stream("mpeg4" if with_video else "aac", rate=25 if with_video else 8000)
        if with_video:
            stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        picture = np.full((300, 300, 3), 200, np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(cover.encode())
        if with_video:
            for small in numbered(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        else:
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
        container.mux(stream.encode())
    content = path.read_bytes()
    moov = content.index(b"moov") - 4
    header, boxes = content[moov : moov + 8], list(split_boxes(content[moov + 8 :]))
    boxes.sort(key=lambda box: box[4:8] == b"trak")
    path.write_bytes(content[:moov] + header + b"".join(boxes))
    return path


def split_boxes(content: bytes) -> Iterator[bytes]:
    while content:
        size = int.from_bytes(content[:4], "big")
        yield content[:size]
        content = content[size:]


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    path = write_cover(tmp_path / "a.mp4", with_video=True)
    with av.open(str(path)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic
    played = [number_of(frame.image) for frame in frames(FileSource(path, fast=True))]
    assert played == [0, 1, 2, 3]


def test_sound_with_a_cover_holds_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no video"):
        FileSource(write_cover(tmp_path / "a.mp4", with_video=False)).open()


def pictures(path: Path) -> Array:
    return np.stack([frame.image for frame in frames(FileSource(path, fast=True))])


def test_one_stream_is_taken_whatever_it_is(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mkv", [(SMALL, Disposition.visual_impaired)])
    assert len(pictures(path)) == 3
    assert len(pictures(write_video(tmp_path / "b.mkv", numbered(2)))) == 2
