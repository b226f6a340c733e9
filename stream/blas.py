"""Keeps BLAS, the linear algebra under numpy, scipy and OpenCV, on the thread that calls it."""

from __future__ import annotations

import os

from threadpoolctl import ThreadpoolController


def keep_blas_single() -> None:
    """Let every OpenBLAS of this process, loaded or yet to be loaded, work on its caller's thread alone.

    OpenBLAS shares out products of a hundred rows already, and its threads then spin for tens of
    milliseconds in case another one follows: at 30 frames a second, one core goes on nothing. What a frame
    needs are such small products, so this holds whatever the environment says, from the moment a live process
    opens its tracker. PyTorch brings a library of its own (MKL) and keeps its threads.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for those that load later, such as scipy's
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
