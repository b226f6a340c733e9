"""The event loop that remote sessions run on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def run(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run on uvloop where it is (not on Windows): it reads all datagrams of a socket in one turn.

    With 2 sessions and 8 viewers on two busy cores a mesh arrived after 0.3 s instead of 2.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
