"""Arrays that are written on the host and read on the device."""

from __future__ import annotations

from typing import Any

from stream.compute.cuda.arrays import empty
from stream.compute.cuda.driver import Driver


class Mirrored:
    """A page-locked host array and its copy on the device."""

    def __init__(self, driver: Driver, shape: tuple[int, ...], dtype: str) -> None:
        self._driver = driver
        self.host = driver.pinned(shape, dtype)
        self.device = empty(driver, shape, dtype)

    def upload(self, stream: Any, count: int | None = None) -> None:
        """Queue the copy of the first ``count`` elements, or of all."""
        self._driver.upload(self.device.pointer, self.host[:count], stream)
