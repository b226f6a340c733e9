"""What lives when a run starts is not walked by later collections; what comes after still is."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from stream.pipeline.heap import settle_heap


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_old_objects_are_exempt_and_new_garbage_is_not() -> None:
    before = Ring()
    settle_heap()
    assert gc.get_freeze_count() > 1000
    assert not any(thing is before for thing in gc.get_objects())
    lost = weakref.ref(Ring())
    gc.collect()
    assert lost() is None
