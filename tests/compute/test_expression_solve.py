"""expression_solve against scipy's bounded least squares, by its optimality conditions, and on bad input."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import HostDriver, compiler
from compute.places import every_place, place_for
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from stream.compute.cuda.arrays import DeviceArray, to_device, to_host
from stream.compute.cuda.current import current_driver, use_driver
from stream.compute.cuda.driver import Driver
from stream.compute.expression_solve import expression_solve
from stream.errors import InputError
from stream.types import Array

TOLERANCE = 1e-4


@dataclass
class Problem:
    """Arrays on the host or the device."""

    displacement: Any
    basis: Any
    weights: Any
    previous: Any
    l2: float = 0.0
    temporal: float = 0.0

    def solve(self, compute: str, **more: Any) -> Array:
        arrays = self.displacement, self.basis, self.weights, self.previous
        return expression_solve(*arrays, self.l2, self.temporal, compute=compute, **more)

    def face(self, index: int) -> "Problem":
        one = slice(index, index + 1)
        rows = {name: getattr(self, name)[one] for name in ("displacement", "weights", "previous")}
        return replace(self, **rows)

    def rows(self, face: int) -> tuple[Array, Array]:
        """Matrix and right side of the face's least squares, float64, priors as rows."""
        count = len(self.basis)
        scale = np.sqrt(np.repeat(self.weights[face].astype(np.float64), 3))
        matrix = scale[:, None] * self.basis.reshape(count, -1).T.astype(np.float64)
        priors = [np.sqrt(strength) * np.eye(count) for strength in (self.l2, self.temporal)]
        right = [scale * self.displacement[face].ravel(), np.zeros(count)]
        return np.vstack([matrix, *priors]), np.concatenate(
            [*right, np.sqrt(self.temporal) * self.previous[face]]
        )


def reference(problem: Problem) -> Array:
    faces = range(len(problem.weights))
    return np.stack(
        [lsq_linear(*problem.rows(face), (0, 1), method="bvls", tol=1e-14, max_iter=2000).x for face in faces]
    )


def face_basis(rng: np.random.Generator, count: int, points: int) -> Array:
    """Smooth overlapping bumps on a face of 150 mm, left ones with their mirror images."""
    place = rng.uniform(-75, 75, (points, 2))
    basis = np.empty((count, points, 3), np.float32)
    for k in range(0, count, 2):
        centre, width, push = rng.uniform(-60, 60, 2), rng.uniform(8, 40), rng.normal(0, 5, 3)
        for side, sign in enumerate((1, -1)[: count - k]):
            at = centre * [sign, 1]
            bump = np.exp(-((place - at) ** 2).sum(axis=1) / (2 * width**2))
            basis[k + side] = bump[:, None] * (push * [sign, 1, 1])
    return np.where(np.abs(basis) < 1e-3, np.float32(0), basis)


def any_basis(rng: np.random.Generator, kind: str, count: int, points: int) -> Array:
    if kind == "bumps":
        return face_basis(rng, count, points)
    basis = rng.normal(0, 3, (count, points, 3)).astype(np.float32)
    if kind == "twins":  # every second column nearly its neighbour
        basis[1::2] = basis[0::2][: count // 2] + rng.normal(0, 0.01, basis[1::2].shape)
    return basis


def draw(seed: int, faces: int, points: int, count: int, kind: str = "bumps", noise: float = 1.0) -> Problem:
    """Faces whose true coefficients are on a wall by about half; those with noise by more."""
    rng = np.random.default_rng(seed)
    basis = any_basis(rng, kind, count, points)
    code = np.clip(rng.normal(0.3, 0.7, (faces, count)), 0, 1)
    moved = np.tensordot(code, basis, 1) + rng.normal(0, noise, (faces, points, 3))
    weights = rng.random((faces, points)).astype(np.float32) + np.float32(0.1)
    previous = np.clip(code + rng.normal(0, 0.5, code.shape), 0, 1).astype(np.float32)
    return Problem(moved.astype(np.float32), basis, weights, previous)


def sturdy(problem: Problem) -> Problem:
    """With as much ``l2`` as the answer needs to be well determined, to 1e-3 of the largest diagonal."""
    needed = 0.0
    for face in range(len(problem.weights)):
        matrix = problem.rows(face)[0]
        normal = matrix.T @ matrix
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        if np.linalg.eigvalsh(normal / np.outer(scale, scale))[0] < 1e-3:
            needed = max(needed, 1e-6, 1e-3 * np.diag(normal).max())
    return replace(problem, l2=problem.l2 + needed)


def broken_rules(problem: Problem, code: Array) -> float:
    """By how much the worst coefficient misses its optimality condition (Karush, Kuhn, Tucker), in 0..1.

    The pull on a coefficient is 0 inside the box and outwards on its walls; the scale is what it would be if
    the whole displacement, or a coefficient of 1, pulled its way.
    """
    worst = 0.0
    for face, given_code in enumerate(code.astype(np.float64)):
        matrix, right = problem.rows(face)
        pull = matrix.T @ (right - matrix @ given_code)
        lengths = np.linalg.norm(matrix, axis=0)
        scale = lengths * (np.linalg.norm(right) + lengths) + 1e-30
        inward = np.where(given_code <= 0, np.maximum(pull, 0), np.abs(pull))
        inward = np.where(given_code >= 1, np.maximum(-pull, 0), inward)
        worst = max(worst, float((inward / scale).max()))
    return worst


@every_place
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    faces=st.integers(1, 9),
    points=st.sampled_from([1, 2, 11, 31, 32, 33, 64, 65, 97, 130]),
    count=st.sampled_from([1, 2, 3, 4, 5, 13, 16, 31, 52, 63, 64]),
    kind=st.sampled_from(["bumps", "noise", "twins"]),
    noise=st.sampled_from([0.0, 0.3, 3.0, 30.0]),
    l2=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    temporal=st.sampled_from([0.0, 1e-2, 10.0]),
)
def test_agrees_with_scipy(
    place: str,
    seed: int,
    faces: int,
    points: int,
    count: int,
    kind: str,
    noise: float,
    l2: float,
    temporal: float,
) -> None:
    problem = sturdy(replace(draw(seed, faces, points, count, kind, noise), l2=l2, temporal=temporal))
    with place_for(place) as compute:
        code = problem.solve(compute)
    assert code.shape == (faces, count)
    assert code.dtype == np.float32
    assert ((code >= 0) & (code <= 1)).all()
    np.testing.assert_allclose(code, reference(problem), rtol=0, atol=TOLERANCE)
    assert broken_rules(problem, code) < 1e-5


@every_place
@pytest.mark.parametrize("noise", [0.1, 2.0, 20.0])
def test_agrees_with_scipy_at_the_size_of_a_face(place: str, noise: float) -> None:
    problem = sturdy(draw(5, 2, 478, 52, noise=noise))
    with place_for(place) as compute:
        code = problem.solve(compute)
    np.testing.assert_allclose(code, reference(problem), rtol=0, atol=TOLERANCE)
    assert 0.05 < ((code == 0) | (code == 1)).mean() < 0.95  # walls as well as the room between them


@every_place
def test_dense_points(place: str) -> None:
    problem = sturdy(draw(6, 1, 5000, 52, noise=2.0))
    with place_for(place) as compute:
        code = problem.solve(compute)
    np.testing.assert_allclose(code, reference(problem), rtol=0, atol=TOLERANCE)


@every_place
def test_clean_displacements_give_their_coefficients_back(place: str) -> None:
    rng = np.random.default_rng(2)
    code = np.clip(rng.normal(0.3, 0.5, (3, 40)), 0, 1)
    problem = draw(1, 3, 200, 40, kind="noise")
    problem.displacement = np.tensordot(code, problem.basis, 1).astype(np.float32)
    with place_for(place) as compute:
        np.testing.assert_allclose(problem.solve(compute), code, rtol=0, atol=1e-6)


@every_place
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    points=st.integers(1, 40),
    count=st.sampled_from([2, 7, 33, 64]),
    rank=st.integers(1, 12),
    noise=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_a_basis_without_full_rank(
    place: str, seed: int, points: int, count: int, rank: int, noise: float
) -> None:
    """One of the best answers: bounded, optimal, and as good as scipy's."""
    problem, rng = draw(seed, 2, points, count, noise=noise), np.random.default_rng(seed)
    mixed = np.tensordot(rng.normal(size=(count, rank)), rng.normal(size=(rank, points, 3)), 1)
    problem.basis = mixed.astype(np.float32)
    problem.basis[count // 2] = 0  # a coefficient that moves nothing
    with place_for(place) as compute:
        code = problem.solve(compute)
    assert ((code >= 0) & (code <= 1)).all()
    np.testing.assert_array_equal(code[:, count // 2], problem.previous[:, count // 2])
    assert broken_rules(problem, code) < 1e-5
    for face, best in enumerate(reference(problem)):
        matrix, right = problem.rows(face)
        ours, theirs = (((matrix @ c - right) ** 2).sum() for c in (code[face], best))
        assert ours <= theirs * (1 + 1e-5) + 1e-6 * (right**2).sum() + 1e-12


@every_place
def test_equal_columns_share_by_the_prior(place: str) -> None:
    problem = draw(3, 2, 50, 9, kind="noise", noise=0.1)
    problem.basis[5] = problem.basis[2]
    problem.l2 = 1e-5 * float((problem.basis**2).sum(axis=(1, 2)).max())
    with place_for(place) as compute:
        code = problem.solve(compute)
    np.testing.assert_allclose(code[:, 5], code[:, 2], rtol=0, atol=1e-5)
    np.testing.assert_allclose(code, reference(problem), rtol=0, atol=TOLERANCE)


@every_place
def test_the_start_does_not_matter(place: str) -> None:
    problem = draw(7, 3, 120, 52)
    problem = sturdy(problem)
    with place_for(place) as compute:
        warm = problem.solve(compute)
        for start in (np.zeros_like(warm), np.ones_like(warm), warm, 1 - warm):
            code = replace(problem, previous=start).solve(compute)
            np.testing.assert_allclose(code, warm, rtol=0, atol=1e-5)


@every_place
def test_points_without_weight_are_absent(place: str) -> None:
    problem = draw(8, 2, 90, 20, kind="noise")
    kept = np.arange(90) % 3 != 1
    problem.weights[:, ~kept] = 0
    rest = replace(
        problem,
        displacement=np.ascontiguousarray(problem.displacement[:, kept]),
        basis=np.ascontiguousarray(problem.basis[:, kept]),
        weights=np.ascontiguousarray(problem.weights[:, kept]),
    )
    with place_for(place) as compute:
        np.testing.assert_allclose(problem.solve(compute), rest.solve(compute), rtol=0, atol=1e-6)


@every_place
def test_what_is_not_finite_leaves_the_point_out(place: str) -> None:
    problem = draw(9, 2, 90, 20, kind="noise")
    absent = replace(problem, weights=problem.weights.copy())
    absent.weights[:, :25] = 0
    problem.displacement[:, 0:20, 1] = np.tile(np.array([np.nan, np.inf, -np.inf, 3e38], np.float32), 5)
    problem.weights[:, 20:25] = [np.nan, np.inf, 3e38, np.nan, np.inf]
    with place_for(place) as compute:
        np.testing.assert_array_equal(problem.solve(compute), absent.solve(compute))
        problem.displacement[:] = np.nan
        np.testing.assert_array_equal(problem.solve(compute), problem.previous)


@every_place
def test_strong_priors_win(place: str) -> None:
    problem = draw(10, 2, 60, 12)
    problem.previous[0, :4] = [-3, 7, 1.5, -0.01]
    with place_for(place) as compute:
        stay = replace(problem, temporal=1e12).solve(compute)
        np.testing.assert_allclose(stay, np.clip(problem.previous, 0, 1), rtol=0, atol=1e-6)
        np.testing.assert_allclose(replace(problem, l2=1e12).solve(compute), 0, atol=1e-6)
        # Half and half: an equal pull to 0 and to the last frame.
        both = replace(problem, l2=1e12, temporal=1e12).solve(compute)
        np.testing.assert_allclose(both, np.clip(problem.previous / 2, 0, 1), rtol=0, atol=1e-6)


@every_place
def test_previous_without_numbers_counts_as_none(place: str) -> None:
    problem = replace(draw(11, 1, 60, 12), temporal=50.0)
    problem.previous[0, ::3] = 0
    broken = replace(problem, previous=problem.previous.copy())
    broken.previous[0, ::3] = [np.nan, np.inf, -np.inf, np.nan]
    with place_for(place) as compute:
        np.testing.assert_array_equal(broken.solve(compute), problem.solve(compute))


@every_place
@pytest.mark.parametrize("faces", [2, 4, 5, 17])
def test_a_batch_is_its_faces_one_by_one(place: str, faces: int) -> None:
    problem = sturdy(replace(draw(12, faces, 70, 23), temporal=0.5))
    with place_for(place) as compute:
        together = problem.solve(compute)
        np.testing.assert_array_equal(problem.solve(compute), together)  # the same in every run
        for face in range(faces):
            alone = problem.face(face).solve(compute)
            np.testing.assert_allclose(alone[0], together[face], rtol=0, atol=1e-6)


@every_place
def test_writes_into_buffers(place: str) -> None:
    problem = sturdy(replace(draw(13, 3, 70, 17), temporal=3.0))
    with place_for(place) as compute:
        expected, out = problem.solve(compute), np.full((3, 17), np.nan, np.float32)
        assert problem.solve(compute, out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert problem.solve(compute, out=problem.previous) is problem.previous
        np.testing.assert_array_equal(problem.previous, expected)


@pytest.mark.parametrize("place", ["host", "cuda"])
def test_device_arrays_stay_on_the_device(place: str) -> None:
    problem = sturdy(replace(draw(14, 3, 70, 17), temporal=3.0))
    with place_for(place) as compute:
        driver = current_driver()
        expected = problem.solve(compute)
        names = ("displacement", "basis", "weights", "previous")
        there = uploaded(driver, problem, names)
        code = there.solve("auto")
        assert isinstance(code, DeviceArray)
        np.testing.assert_array_equal(to_host(driver, code), expected)
        stream = driver.stream()
        driver.synchronize(driver.default_stream)
        assert there.solve("auto", out=there.previous, stream=stream) is there.previous
        np.testing.assert_array_equal(to_host(driver, there.previous, stream), expected)
        with pytest.raises(InputError, match="bring all to one place"):
            replace(there, weights=problem.weights).solve("auto")


def test_device_numbers_that_cannot_be_checked_do_no_harm() -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    problem = draw(15, 2, 40, 10, kind="noise")
    clean = replace(problem, weights=problem.weights.copy(), basis=problem.basis.copy())
    problem.weights[:, 3], clean.weights[:, 3] = -1, 0
    problem.basis[2, 7], clean.basis[2, 7] = [np.nan, -np.inf, 1e30], 0
    with use_driver(HostDriver()) as driver:
        names = ("displacement", "basis", "weights", "previous")
        there = uploaded(driver, problem, names)
        np.testing.assert_array_equal(to_host(driver, there.solve("auto")), clean.solve("cuda"))


def test_scratch_is_allocated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler here; install one with: apt-get install g++")
    calls: list[Any] = []
    problem = draw(16, 2, 40, 10)
    with use_driver(HostDriver()) as driver:
        names = ("displacement", "basis", "weights", "previous")
        there = uploaded(driver, problem, names)
        there.solve("auto", out=there.previous)
        monkeypatch.setattr(driver, "allocate", calls.append)
        there.solve("auto", out=there.previous)
    assert not calls


@pytest.mark.parametrize("order", ["sliced", "fortran"])
def test_other_memory_orders(order: str) -> None:
    problem = draw(17, 2, 40, 10, kind="noise")
    expected = problem.solve("numba")
    wide = np.repeat(problem.basis, 2, axis=1)
    problem.basis = wide[:, ::2] if order == "sliced" else np.asfortranarray(problem.basis)
    np.testing.assert_array_equal(problem.solve("numba"), expected)


def uploaded(driver: Driver, problem: Problem, names: Iterable[str]) -> Problem:
    """The problem with these arrays on the device."""
    moved: dict[str, Any] = {name: to_device(driver, getattr(problem, name)) for name in names}
    return replace(problem, **moved)


BAD: dict[str, dict[str, Any]] = {
    "displacement of two axes": {"displacement": np.zeros((2, 40), np.float32)},
    "float64": {"displacement": np.zeros((2, 40, 3))},
    "a list": {"weights": [[1.0] * 40] * 2},
    "no faces": {
        "displacement": np.zeros((0, 40, 3), np.float32),
        "weights": np.zeros((0, 40), np.float32),
        "previous": np.zeros((0, 10), np.float32),
    },
    "other points": {"basis": np.zeros((10, 39, 3), np.float32)},
    "no coefficients": {
        "basis": np.zeros((0, 40, 3), np.float32),
        "previous": np.zeros((2, 0), np.float32),
    },
    "65 coefficients": {
        "basis": np.zeros((65, 40, 3), np.float32),
        "previous": np.zeros((2, 65), np.float32),
    },
    "10001 points": {
        "displacement": np.zeros((2, 10_001, 3), np.float32),
        "basis": np.zeros((10, 10_001, 3), np.float32),
        "weights": np.zeros((2, 10_001), np.float32),
    },
    "257 faces": {
        "displacement": np.zeros((257, 40, 3), np.float32),
        "weights": np.zeros((257, 40), np.float32),
        "previous": np.zeros((257, 10), np.float32),
    },
    "a NaN in the basis": {"basis": np.full((10, 40, 3), np.nan, np.float32)},
    "a huge basis": {"basis": np.full((10, 40, 3), 1e7, np.float32)},
    "a negative weight": {"weights": np.full((2, 40), -1, np.float32)},
    "previous of another face": {"previous": np.zeros((1, 10), np.float32)},
    "negative l2": {"l2": -1.0},
    "l2 that is not a number": {"l2": np.nan},
    "endless temporal": {"temporal": np.inf},
}


@every_place
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(place: str, name: str) -> None:
    problem = replace(draw(18, 2, 40, 10), **BAD[name])
    with place_for(place) as compute, pytest.raises(InputError):
        problem.solve(compute)


def test_bad_buffers_are_refused() -> None:
    problem = draw(19, 2, 40, 10)
    locked = np.zeros((2, 10), np.float32)
    locked.flags.writeable = False
    for out in (np.zeros((2, 9), np.float32), np.zeros((2, 10)), locked, np.zeros((10, 2), np.float32).T):
        with pytest.raises(InputError):
            problem.solve("numba", out=out)
