"""The small sums and eliminations against NumPy's."""

import numpy as np

from stream.expression.least_squares import add_up, eliminate, factorise, solve

RANDOM = np.random.default_rng(3)


def positive_definite(count: int) -> np.ndarray:
    root = RANDOM.normal(size=(count, 2 * count))
    return root @ root.T


def test_sums_are_those_of_the_normal_equations() -> None:
    rows = RANDOM.normal(size=(3, 20, 100)).astype(np.float32)
    target = RANDOM.normal(size=(3, 100)).astype(np.float32)
    normal, pull = np.full((20, 20), np.nan), np.full(20, np.nan)
    add_up(rows, target, normal, pull)
    np.testing.assert_allclose(normal, np.einsum("anp,amp->nm", rows, rows), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(pull, np.einsum("anp,ap->n", rows, target), rtol=1e-4, atol=1e-3)


def test_factor_and_solution() -> None:
    matrix, right = positive_definite(12), RANDOM.normal(size=12)
    factor, half = matrix.copy(), right.copy()
    factorise(factor, half)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), atol=1e-10)
    np.testing.assert_allclose(factor @ half, right, atol=1e-10)
    found = right.copy()
    solve(matrix.copy(), found)
    np.testing.assert_allclose(matrix @ found, right, atol=1e-9)


def test_elimination_leaves_the_others_solution() -> None:
    matrix, right = positive_definite(15), RANDOM.normal(size=15)
    whole = np.linalg.solve(matrix, right)
    eliminate(matrix, right, 6)
    np.testing.assert_allclose(np.linalg.solve(matrix[6:, 6:], right[6:]), whole[6:], atol=1e-9)


def test_a_matrix_that_rounding_spoiled_gives_finite_numbers() -> None:
    matrix, right = np.zeros((4, 4)), np.ones(4)
    factorise(matrix, right)
    assert np.isfinite(matrix).all()
    assert np.isfinite(right).all()
