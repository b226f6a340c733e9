"""Faces solved together are solved as each alone, wherever that is."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from compute.host_driver import CountingDriver, compiler
from expression.expression_helpers import PICTURE, codes, make_face
from people import capture_with, expressions_of

from stream.compute.cuda.current import use_driver
from stream.errors import BackendError
from stream.expression import bounded
from stream.expression.bounded import BoundedSolver
from stream.expression.stage import ExpressionStage
from stream.types import Capture, Frame

COUNT, FACES = 43, 5


@pytest.fixture
def driver() -> Iterator[CountingDriver]:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    with use_driver(CountingDriver()) as host:
        assert isinstance(host, CountingDriver)
        yield host


def taking(monkeypatch: pytest.MonkeyPatch, cuda: float, cpu: float) -> None:
    """Let the trial find these milliseconds: CUDA is timed first."""
    found = iter([cuda, cpu])

    def shortest(run: Any) -> float:
        run()
        return next(found)

    monkeypatch.setattr(bounded, "_shortest", shortest)


@pytest.mark.parametrize(
    ("cuda", "cpu", "wanted"), [(0.5, 1.0, 3), (0.01, 1.0, 2), (0.99, 1.0, 5), (2.0, 1.0, None)]
)
def test_cuda_is_taken_from_where_it_was_faster(
    driver: CountingDriver, monkeypatch: pytest.MonkeyPatch, cuda: float, cpu: float, wanted: int | None
) -> None:
    taking(monkeypatch, cuda, cpu)
    solver, alone = BoundedSolver(COUNT, FACES), BoundedSolver(COUNT)
    assert solver.cuda_from == wanted
    assert alone.cuda_from is None
    problems = bounded._examples(COUNT, FACES)
    each = np.concatenate([alone([deepcopy(one)]) for one in problems])
    assert ((each > 0.01) & (each < 0.99)).any(axis=1).all()
    for faces in range(1, FACES + 1):
        before = driver.downloads
        found = solver(deepcopy(problems[:faces]))
        assert driver.downloads - before == (wanted is not None and faces >= wanted)
        np.testing.assert_allclose(found, each[:faces], atol=1e-4)


def test_nothing_is_allocated_once_it_runs(driver: CountingDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    taking(monkeypatch, 0.1, 1.0)
    solver, problems = BoundedSolver(COUNT, FACES), bounded._examples(COUNT, FACES)
    for _ in range(2):
        solver(deepcopy(problems))
    before = driver.allocations
    solver(deepcopy(problems))
    assert driver.allocations == before


@pytest.mark.parametrize(("faces", "compute"), [(1, "auto"), (FACES, "numba")])
def test_one_face_and_who_asks_for_numba_need_no_trial(
    driver: CountingDriver, monkeypatch: pytest.MonkeyPatch, faces: int, compute: str
) -> None:
    monkeypatch.setattr(bounded, "_shortest", lambda run: pytest.fail("it was tried"))
    assert BoundedSolver(COUNT, faces, compute).cuda_from is None


def test_a_gpu_that_fails_leaves_it_to_the_cpu(
    driver: CountingDriver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*given: object) -> None:
        raise BackendError("no memory")

    monkeypatch.setattr(driver, "upload", refuse)
    solver = BoundedSolver(COUNT, FACES)
    assert solver.cuda_from is None
    assert "no memory" in caplog.text
    assert solver(bounded._examples(COUNT, FACES)).shape == (FACES, COUNT)


def test_people_together_show_what_each_shows_alone(
    driver: CountingDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking(monkeypatch, 0.1, 1.0)
    together, apart = ExpressionStage(faces=3), ExpressionStage()
    together.open()
    apart.open()
    assert together.bounded is not None
    assert together.bounded.cuda_from == 2
    shown = [codes(jawOpen=0.5), codes(mouthSmileLeft=0.6, mouthSmileRight=0.6), codes(browInnerUp=0.4)]

    def capture(number: int, tracks: range) -> Capture:
        faces = [make_face(shown[track], seed=number, noise=0.1, track=track) for track in tracks]
        return capture_with(Frame(PICTURE, 1 + number / 30, number, "test"), faces)

    for number in range(8):
        people = expressions_of(together(capture(number, range(3))))
        for track in range(3):
            (one,) = expressions_of(apart(capture(number, range(track, track + 1))))
            np.testing.assert_allclose(people[track].coefficients, one.coefficients, atol=2e-3)
