import itertools

import pytest

from stream.face.search import PATIENCE, PAUSE, SearchPace


def searched(pace: SearchPace, begin: float, seconds: float, rate: float = 30.0) -> list[float]:
    """Times of the frames that are searched, of a camera that sees nobody."""
    times = [begin + number / rate for number in range(round(seconds * rate))]
    return [time for time in times if pace.due(time)]


def test_an_empty_chair_is_looked_at_a_few_times_a_second() -> None:
    pace = SearchPace()
    times = searched(pace, 100.0, PATIENCE + 10)
    early = [time for time in times if time <= 100 + PATIENCE]
    assert len(early) == 31
    assert len(times) - len(early) == pytest.approx(10 / PAUSE, abs=4)
    assert max(b - a for a, b in itertools.pairwise(times)) < PAUSE + 1.5 / 30


def test_a_face_brings_every_frame_back() -> None:
    pace = SearchPace()
    last = searched(pace, 0.0, 20)[-1]
    pace.found(last)
    assert len(searched(pace, last + 1 / 30, PATIENCE)) == 30


def test_a_clock_that_goes_back_starts_afresh() -> None:
    pace = SearchPace()
    searched(pace, 1000.0, 20)
    assert len(searched(pace, 5.0, PATIENCE)) == 30


def test_frames_without_a_clock_are_all_searched() -> None:
    pace = SearchPace()
    assert all(pace.due(0.0) for _ in range(100))
