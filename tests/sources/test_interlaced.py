"""Interlaced clips without combs, progressive ones untouched."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from shared_folder import SHARED
from sources.source_helpers import frames, number_of, numbered, write_video

from stream.sources.file import FileSource
from stream.types import Array


def combs(picture: Array) -> float:
    """How much rows differ from their neighbours beyond those from one another, levels."""
    rows = picture.astype(float).mean(axis=2)
    beside = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2)
    apart = np.abs(rows[:-2] - rows[2:])
    return float(np.maximum(beside - apart, 0).mean())


def bar(place: int, size: int = 96) -> Array:
    """A white bar on black that stands at ``place``."""
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:, place : place + 16] = 255
    return picture


def write_interlaced(path: Path, count: int = 8) -> Path:
    """A bar that moves 6 pixels from field to field."""
    with av.open(str(path), "w") as container:
        options = {"flags": "+ildct+ilme", "qscale": "2"}
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 8_000_000
        for index in range(count):
            picture = bar(6 + 12 * (index % 6))
            picture[1::2] = bar(12 + 12 * (index % 6))[1::2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_the_clip_of_the_issue_has_no_combs() -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    path = SHARED / "data/cases/interlaced.mp4"
    with av.open(str(path)) as container:
        raw = [combs(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    played = [frame.image for frame in frames(FileSource(path, fast=True))]
    assert len(played) == len(raw) == 30
    assert np.mean(raw) > 3 * np.mean([combs(picture) for picture in played])


def test_fields_become_frames_of_one_moment(tmp_path: Path) -> None:
    path = write_interlaced(tmp_path / "a.mkv")
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        if not first.interlaced_frame:
            pytest.skip("this FFmpeg's encoder marks no frame as interlaced")
        assert combs(first.to_ndarray(format="rgb24")) > 10
    played = [frame.image for frame in frames(FileSource(path, fast=True))]
    assert len(played) == 8
    assert max(combs(picture) for picture in played[1:-1]) < 5


def test_frames_keep_their_number_and_times_again_and_again() -> None:
    if SHARED is None:
        pytest.skip("no shared folder beside the checkout")
    source = FileSource(SHARED / "data/cases/interlaced.mp4", fast=True, loop=True)
    source.open()
    times = [source.read().captured for _ in range(65)]
    source.close()
    assert np.diff(times) == pytest.approx(1 / 15, abs=2e-3)


def test_progressive_frames_are_as_they_were(tmp_path: Path) -> None:
    played = list(frames(FileSource(write_video(tmp_path / "a.mkv", numbered(5)), fast=True)))
    assert [number_of(frame.image) for frame in played] == [0, 1, 2, 3, 4]
