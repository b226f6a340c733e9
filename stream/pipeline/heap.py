"""Keeping Python's garbage collector out of the live frames' way."""

from __future__ import annotations

import gc


def settle_heap() -> None:
    """Collect once, and exempt what is left from later collections.

    A full collection walks every object of the process and holds all threads meanwhile. With MediaPipe and
    the command line loaded these are 206,000 objects and 100 ms on one core of a small server: three frames
    lost each time. What lives when a run starts, modules and models, lives on anyway; what the run itself
    leaves behind is still collected. Exempted objects are freed as usual when nothing refers to them; only
    reference cycles among them stay, which is a run's own few objects in a process that makes many runs.
    """
    gc.collect()
    gc.freeze()
