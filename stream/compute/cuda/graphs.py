"""Work captured into a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from stream.compute.cuda.driver import Driver, Stream
from stream.errors import BackendError


def captured(driver: Driver, stream: Stream, queue: Callable[[], object]) -> Any:
    """The graph of what ``queue`` queues on ``stream``, which is not run.

    Whatever ``queue`` raises, the capture is ended: a stream left in it would be of no use any more.

    :raises BackendError: it cannot be captured.
    """
    driver.begin_capture(stream)
    try:
        queue()
    except BaseException:
        with suppress(BackendError):  # why it failed is on its way already
            driver.end_capture(stream)
        raise
    return driver.end_capture(stream)
