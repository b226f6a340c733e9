"""Small least squares problems within 0 and 1, of all faces of a picture in one call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stream.compute.backends import AUTO, why_not
from stream.compute.expression_solve import expression_solve
from stream.errors import BackendError
from stream.expression.least_squares import factorise
from stream.types import Array

TRIALS = 7
"""Runs of each backend that are timed; the shortest counts, since other work only makes them longer."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounded:
    """One face's problem.

    :ivar normal: (K, K) float64, positive definite; ``pull`` (K,) float64. Solving overwrites both.
    :ivar previous: (K,) float32 in 0..1, where to begin.
    """

    normal: Array
    pull: Array
    previous: Array


class BoundedSolver:
    """Solves the problems of up to ``faces`` faces; for one thread.

    On CUDA it works from that number of faces on at which a trial of this machine was faster than on the CPU.
    One face never goes there: the CPU has solved it before a GPU has been told of it.

    :param count: K, unknowns of a face.
    :param compute: ``auto``, ``numba`` or ``cuda``.
    :ivar cuda_from: that number of faces; ``None``: the CPU solves all.
    """

    def __init__(self, count: int, faces: int = 1, compute: str = AUTO) -> None:
        self.cuda_from: int | None = None
        self._worth = range(0)
        self._on_cuda: _OnCuda | None = None
        if faces > 1 and compute in (AUTO, "cuda") and why_not("cuda") is None:
            self._try_cuda(count, faces)

    def __call__(self, problems: Sequence[Bounded]) -> Array:
        """(F, K) float32 in 0..1, of each face the nearest to solving its normal equations."""
        arrays = _stacked(problems)
        if self._on_cuda is not None and len(problems) in self._worth:
            return self._on_cuda(*arrays)
        return expression_solve(*arrays, l2=0.0, temporal=0.0, compute="numba")

    def _try_cuda(self, count: int, faces: int) -> None:
        """Find `cuda_from` by a trial of the largest size."""
        arrays = _stacked(_examples(count, faces))
        try:
            on_cuda = self._on_cuda = _OnCuda(arrays)
            there = _shortest(lambda: on_cuda(*arrays))
        except BackendError as error:
            log.warning("Expressions stay on the CPU. %s", error)
            return
        here = _shortest(lambda: expression_solve(*arrays, l2=0.0, temporal=0.0, compute="numba"))
        self.cuda_from = next((n for n in range(2, faces + 1) if n * here / faces > there), None)
        self._worth = range(self.cuda_from or faces + 1, faces + 1)
        chosen = "the CPU" if self.cuda_from is None else f"CUDA from {self.cuda_from} faces on"
        log.info(
            "Expressions of %d faces took %.2f ms on CUDA, %.2f on the CPU: %s.", faces, there, here, chosen
        )


class _OnCuda:
    """Solves on the device, in buffers for calls of up to the size of ``largest``: a free would wait."""

    def __init__(self, largest: Sequence[Array]) -> None:
        from stream.compute.cuda.current import current_driver
        from stream.compute.cuda.mirrored import Mirrored

        self._driver = current_driver()
        self._stream = self._driver.stream()
        # What comes back has the shape of what it begins with, the last.
        self._given = [Mirrored(self._driver, (one.size,), "float32") for one in (*largest, largest[-1])]

    def __call__(self, *arrays: Array) -> Array:
        *given, out = self._given
        there = []
        for mirrored, array in zip(given, arrays, strict=True):
            mirrored.host[: array.size] = array.ravel()
            mirrored.upload(self._stream, array.size)
            there.append(mirrored.device[: array.size].reshape(*array.shape))
        found = out.device[: arrays[-1].size].reshape(*arrays[-1].shape)
        displacement, basis, weights, previous = there
        expression_solve(displacement, basis, weights, previous, 0.0, 0.0, found, self._stream)
        self._driver.download(out.host[: arrays[-1].size], found.pointer, self._stream)
        self._driver.synchronize(self._stream)
        return out.host[: arrays[-1].size].reshape(arrays[-1].shape).copy()


def _stacked(problems: Sequence[Bounded]) -> tuple[Array, Array, Array, Array]:
    """Displacements, basis, weights and previous coefficients as `expression_solve` takes them.

    It takes points: three rows of a square root of the normal matrix make one. The faces' points stand side
    by side in one basis, and each face has weights on its own alone.
    """
    faces, count = len(problems), len(problems[0].pull)
    own = -(-count // 3)
    basis = np.zeros((count, faces, own * 3), np.float32)
    target = np.zeros((faces, faces, own * 3), np.float32)
    weights = np.zeros((faces, faces, own), np.float32)
    for face, one in enumerate(problems):
        factorise(one.normal, one.pull)
        basis[:, face, :count] = one.normal
        target[face, face, :count] = one.pull
        weights[face, face] = 1
    return (
        target.reshape(faces, faces * own, 3),
        basis.reshape(count, faces * own, 3),
        weights.reshape(faces, faces * own),
        np.stack([one.previous for one in problems]),
    )


def _examples(count: int, faces: int) -> list[Bounded]:
    """Problems like those of faces in motion: some coefficients at their bounds, some between."""
    rng, problems = np.random.default_rng(0), []
    for _ in range(faces):
        rows = rng.normal(0, 1, (3 * count, count))
        wanted = np.clip(rng.normal(0.1, 0.3, count), 0, 1)
        start = np.clip(wanted + rng.normal(0, 0.05, count), 0, 1).astype(np.float32)
        problems.append(
            Bounded(rows.T @ rows, rows.T @ (rows @ wanted + rng.normal(0, 0.5, 3 * count)), start)
        )
    return problems


def _shortest(run: Callable[[], object]) -> float:
    """Milliseconds of the shortest of `TRIALS` runs behind a first one."""
    run()
    times = []
    for _ in range(TRIALS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1e3 * min(times)
