"""What a user may write for a source, and what it becomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sources.source_helpers import frames, numbered, write_video

from stream.errors import ConfigError, SourceError
from stream.pipeline.source import Source
from stream.sources.factory import open_source
from stream.sources.file import FileSource
from stream.sources.images import ImagesSource
from stream.sources.sample import SampleSource
from stream.sources.webcam import WebcamSource


@pytest.mark.parametrize(
    ("spec", "name"),
    [("webcam", "webcam:0"), ("webcam:1", "webcam:1"), ("/dev/video2", "webcam:/dev/video2")],
)
def test_cameras(spec: str, name: str) -> None:
    source = open_source(spec, size=(320, 240), rate=15)
    assert isinstance(source, WebcamSource)
    assert (source.name, source.rate, source.paced) == (name, 15, True)


@pytest.mark.parametrize("spec", ["sample", "sample:carphone", "sample:astronaut"])
def test_the_sample(spec: str) -> None:
    source = open_source(spec, rate=60)
    assert isinstance(source, SampleSource)
    assert (source.rate, source.paced) == (60, True)


def test_paths(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", numbered(3))
    image = tmp_path / "a.PNG"
    image.write_bytes(b"")
    assert isinstance(open_source(str(video)), FileSource)
    assert isinstance(open_source(str(image)), ImagesSource)
    assert isinstance(open_source(str(tmp_path)), ImagesSource)
    fast = open_source(str(video), fast=True)
    assert not fast.paced
    assert len(list(frames(fast))) == 3


def test_a_file_called_like_a_keyword_is_meant_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").write_bytes(b"")
    assert isinstance(open_source("./sample"), FileSource)
    assert isinstance(open_source("sample"), SampleSource)


@pytest.mark.parametrize(
    "spec",
    ["", "webcam:", "webcam:x", "webcam:99999", "sample:cat", "no/such/file.mp4", "http://a/b.mp4",
     "/no/null", "a\0b", "x" * 5000],
)  # fmt: skip
def test_anything_else_lists_what_is_possible(spec: str) -> None:
    with pytest.raises(SourceError, match=r"There is no source.*webcam.*sample.*path"):
        open_source(spec)


def test_a_camera_cannot_be_hurried() -> None:
    with pytest.raises(SourceError, match="as fast as possible"):
        open_source("webcam", fast=True)


@pytest.mark.parametrize("spec", ["webcam", "sample", "."])
def test_a_rate_of_zero_is_a_sentence(spec: str) -> None:
    with pytest.raises(ConfigError, match="frames per second"):
        open_source(spec, rate=0)


def test_every_source_keeps_the_protocol() -> None:
    sources: list[Source] = [WebcamSource(), SampleSource(), FileSource(Path("a")), ImagesSource(Path("b"))]
    for source in sources:
        source.interrupt()
        source.close()
        source.close()


def test_choosing_a_source_loads_only_what_that_source_needs() -> None:
    program = (
        "import sys; from stream.sources.factory import open_source; from stream.pipeline import run;"
        "print([name for name in ('av', 'cv2', 'PIL', 'prometheus_client', 'torch') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert out.stdout == "[]\n"
