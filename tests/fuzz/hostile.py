"""How the fuzz tests run an input (only typed errors, bounded time and memory), and how they alter bytes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import psutil
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from stream.errors import ProtocolError

INPUTS = int(os.environ.get("PROSOPON_FUZZ", "1000"))
"""Inputs for each target; `make nightly` asks for 100,000."""

CPU_SECONDS = 0.5
"""Most time on the processor that one input may take, with room for a busy machine and the collector."""

PEAK_BYTES = 12 * 2**20
"""Most memory that one input may take at a time: the largest sound message takes 5 MB."""

BATCH = 1000
"""Inputs after which hypothesis starts anew: it remembers them all, 3 kB for each."""

TRACED = max(1, INPUTS // 5000)
"""The memory of every so manieth input is watched: each `tracemalloc.start` costs 1 kB for good."""

RSS_GROWTH = 64 * 2**20
"""Most by which the process may grow over all batches but the first."""

CORPUS = Path(__file__).parents[1] / "data/corpus"

INTEGERS = (
    0,
    1,
    2,
    3,
    7,
    127,
    128,
    255,
    256,
    511,
    512,
    513,
    32767,
    32768,
    65535,
    2**31,
    2**32 - 1,
    2**64 - 1,
)
FLOATS = (0.0, -0.0, 1e-45, 1e-3, 1.0, -1.0, 1.25, 4.0, 1e5, 3.4e38, -3.4e38, float("inf"), float("nan"))

Edit = tuple[int, int, bytes]


def survives(handle: Callable[[bytes], None], data: bytes, trace: bool = True) -> None:
    """Hand ``data`` to the code under test and hold it to its bounds.

    A failing input belongs into ``tests/data/corpus``, where every run replays it.

    :param trace: watch the memory, too.
    """
    if trace:
        tracemalloc.start()
    try:
        spent = _spent(handle, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for _ in range(2):
        if spent >= CPU_SECONDS:  # a collection of garbage may have fallen into it
            gc.collect()
            spent = min(spent, _spent(handle, data))
    assert spent < CPU_SECONDS, f"{spent:.3f} s for {len(data)} bytes"
    assert peak < PEAK_BYTES, f"{peak / 2**20:.1f} MB for {len(data)} bytes"


def _spent(handle: Callable[[bytes], None], data: bytes) -> float:
    begun = time.thread_time()
    with contextlib.suppress(ProtocolError):
        handle(data)
    return time.thread_time() - begun


def fuzz(handle: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], count: int = INPUTS) -> None:
    """``count`` inputs, the same ones in every run."""
    with contextlib.suppress(ProtocolError):
        handle(b"")  # loads what the first call loads, compiled kernels, so that no input is charged for it
    _batch(handle, inputs, 0, min(BATCH, count))
    before = psutil.Process().memory_info().rss
    for number in range(1, -(-count // BATCH)):
        _batch(handle, inputs, number, BATCH)
    grown = psutil.Process().memory_info().rss - before
    assert grown < RSS_GROWTH, f"grown by {grown / 2**20:.0f} MB"


def _batch(
    handle: Callable[[bytes], None], inputs: st.SearchStrategy[bytes], number: int, count: int
) -> None:
    places = itertools.count()

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(data=inputs)
    def run(data: bytes) -> None:
        survives(handle, data, next(places) % TRACED == 0)

    run()


def corpus(target: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted((CORPUS / target).iterdir())


def altered(data: bytes, edits: list[Edit]) -> bytes:
    """The bytes with pieces overwritten, put in, cut out, repeated or cut off.

    :param edits: what to do, where (modulo the length), and the bytes or, by their number, how many.
    """
    result = bytearray(data)
    for what, where, piece in edits:
        at = where % (len(result) + 1)
        if what == 0:
            result[at : at + len(piece)] = piece
        elif what == 1:
            result[at:at] = piece
        elif what == 2:
            del result[at : at + len(piece)]
        elif what == 3:
            result[at:at] = result[at : at + 16 * len(piece)]
        elif what == 4:
            del result[at:]
        elif at < len(result):
            result[at] ^= 1 << (where % 8)
    return bytes(result)


def edits(most: int = 4) -> st.SearchStrategy[list[Edit]]:
    """What `altered` does."""
    edit = st.tuples(st.integers(0, 5), st.integers(0, 2**16), st.binary(max_size=12))
    return st.lists(edit, max_size=most)


def mutations(seeds: list[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    """Sound inputs with some bytes altered, and bytes out of nowhere."""
    return st.one_of(
        st.builds(altered, st.sampled_from(seeds), edits(most)),
        st.builds(altered, st.sampled_from(seeds), edits(1)),
        st.binary(max_size=400),
    )
