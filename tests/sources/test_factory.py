"""What a user may write for a source, and what it becomes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources.source_helpers import frames, number_of, numbered, write_video

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


@pytest.fixture
def memory() -> Iterator[Path]:
    """A video in shared memory, whose path begins with /dev/."""
    path = Path(f"/dev/shm/prosopon-test-{os.getpid()}.mkv")
    if not os.access(path.parent, os.W_OK):
        pytest.skip("no /dev/shm here")
    yield write_video(path, numbered(3))
    path.unlink()


def test_a_file_in_shared_memory_is_a_file(memory: Path, tmp_path: Path) -> None:
    link = tmp_path / "video0"
    link.symlink_to(memory)
    for path in (memory, link):
        source = open_source(str(path), fast=True)
        assert isinstance(source, FileSource)
        assert [number_of(frame.image) for frame in frames(source)] == [0, 1, 2]


def test_a_device_is_a_camera_whatever_its_path(tmp_path: Path) -> None:
    link = tmp_path / "mine"
    link.symlink_to("/dev/null")  # a character device, which every machine has
    assert isinstance(open_source(str(link)), WebcamSource)


@pytest.mark.parametrize("spec", ["/dev/shm/none.mp4", "/dev/fd/999", "/dev/nothing"])
def test_what_is_not_there_is_no_camera(spec: str) -> None:
    with pytest.raises(SourceError, match="There is no source"):
        open_source(spec)


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "png")])
def test_a_pipe_is_a_file(tmp_path: Path, name: str, codec: str) -> None:
    """Also an mp4, whose index stands at its end."""
    content = write_video(
        tmp_path / name, numbered(5), codec=codec, pixels="rgb24" if codec == "png" else "bgr0"
    ).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feed = threading.Thread(target=pipe.write_bytes, args=(content,))
    feed.start()
    source = open_source(str(pipe), fast=True, loop=True)
    source.open()
    played = [source.read() for _ in range(7)]
    source.close()
    feed.join()
    assert [number_of(frame.image) for frame in played if frame] == [0, 1, 2, 3, 4, 0, 1]


def test_a_pipe_goes_on_behind_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stream.sources import pipe as pipes

    monkeypatch.setattr(pipes, "MAX_KEPT", 5)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    feed = threading.Thread(target=path.write_bytes, args=(b"0123456789",))
    feed.start()
    file = pipes.PipeFile(path)
    assert file.read(4) == b"0123"
    assert (file.seek(1), file.read(2)) == (1, b"12")
    assert (file.seek(3, 1), file.read(10)) == (6, b"6789")
    assert (file.read(10), file.tell()) == (b"", 10)
    assert file.seek(7) < 0
    assert file.seek(-1, os.SEEK_END) < 0
    assert (file.seek(0), file.read(2)) == (0, b"01")
    file.close()
    feed.join()


def test_a_picture_by_a_pipe(tmp_path: Path) -> None:
    content = write_video(tmp_path / "a.png", numbered(1), codec="png", pixels="rgb24").read_bytes()
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    feed = threading.Thread(target=pipe.write_bytes, args=(content,))
    feed.start()
    assert len(list(frames(open_source(str(pipe), fast=True)))) == 1
    feed.join()


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
