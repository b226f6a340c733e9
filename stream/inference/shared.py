"""One network for several threads: calls that wait at the same time run as one batch.

Measured on two cores with OpenVINO and the shipped int8 depth network: 4.8 ms a face alone, 4.0 in batches of
two, 3.8 in batches of four. On other machines it is otherwise, so the sizes are tried when the network loads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from stream.errors import BackendError, ModelError
from stream.inference.engine import Engine, TensorSpec
from stream.inference.tensors import check_inputs, closed
from stream.types import Array

log = logging.getLogger(__name__)

GAIN = 0.9
"""A batch size is kept where it takes less than this share of the smaller one's time per call: all calls of
a batch wait for the last, which must be worth it."""

CLOSE_SECONDS = 2.0
"""How long `SharedEngine.close` waits for a run to end."""

TRIALS = 4
"""Runs of which the fastest tells what a batch size takes."""


@dataclass(frozen=True, slots=True)
class _Call:
    inputs: Mapping[str, Array]
    outputs: Future[dict[str, Array]] = field(default_factory=Future)


class SharedEngine:
    """An `Engine` that any number of threads may call at once; each waits for its own result.

    A worker thread of its own, on which the network is loaded too, takes all calls that wait and runs
    them in batches of the sizes that pay here (powers of two; 1 always). Nobody is waited for: a batch is
    what came while the one before ran. Results are those of single runs but for rounding.

    :param load: loads the network for a batch size, as `stream.inference.backends.load_engine` does.
    :param max_batch: the largest size to try.
    :param clock: seconds, for tests.
    :ivar sizes: the sizes that are used, descending.
    :ivar runs: how often the network ran, by size.
    :raises ModelError, BackendError, ConfigError: as ``load``, for single runs; larger batches that cannot
        be loaded or run are done without.
    """

    def __init__(
        self,
        load: Callable[[int], Engine],
        max_batch: int = 4,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.runs: Counter[int] = Counter()
        self._load, self._max_batch, self._clock = load, max_batch, clock
        self._waiting: deque[_Call] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._engines: dict[int, Engine] = {}
        loaded: Future[Engine] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(loaded,), name="prosopon-inference", daemon=True
        )
        self._thread.start()
        single = loaded.result()
        self.backend, self.inputs, self.outputs = single.backend, single.inputs, single.outputs
        self.sizes = tuple(sorted(self._engines, reverse=True))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `stream.inference.engine.Engine.run`; from any thread, but not its own.

        :raises ModelError: it was closed.
        """
        check_inputs(self.inputs, inputs)
        call = _Call(inputs)
        with self._change:
            if self._closed:
                raise closed()
            self._waiting.append(call)
            self._change.notify()
        return call.outputs.result()

    def front(self) -> Engine:
        """The network for one of its users, who may close it without closing it for the others."""
        return _Front(self)

    def close(self) -> None:
        """Free the network once what runs is done; calls that wait fail. Does nothing the second time.

        A run that does not end is left behind after `CLOSE_SECONDS`.
        """
        with self._change:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._change.notify()
        for call in waiting:
            call.outputs.set_exception(closed())
        self._thread.join(CLOSE_SECONDS)

    # On the worker thread

    def _work(self, loaded: Future[Engine]) -> None:
        try:
            self._engines = self._engines_that_pay()
        except BaseException as error:
            loaded.set_exception(error)
            return
        loaded.set_result(self._engines[1])
        while calls := self._take():
            self._run_together(calls)
        for engine in self._engines.values():
            engine.close()

    def _engines_that_pay(self) -> dict[int, Engine]:
        engines = {1: self._load(1)}
        best, size = self._seconds_per_call(engines[1], 1) if self._max_batch > 1 else 0.0, 2
        while size <= self._max_batch:
            engine = None
            try:
                engine = self._load(size)
                seconds = self._seconds_per_call(engine, size)
            except (ModelError, BackendError) as error:
                log.info("The network does not run in batches of %d: %s", size, error)
                if engine is not None:
                    engine.close()
                break
            log.info("The network takes %.1f ms a call in batches of %d.", seconds * 1e3, size)
            if seconds > GAIN * best:
                engine.close()
                break
            engines[size], best, size = engine, seconds, 2 * size
        return engines

    def _seconds_per_call(self, engine: Engine, size: int) -> float:
        zeros = {spec.name: np.zeros(_pinned(spec), spec.dtype) for spec in engine.inputs}
        engine.run(zeros)
        times = []
        for _ in range(TRIALS):
            begun = self._clock()
            engine.run(zeros)
            times.append(self._clock() - begun)
        return min(times) / size

    def _take(self) -> list[_Call]:
        """The calls to run next, as many as a kept size; waits for one; none once closed."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return []
            size = max(size for size in self._engines if size <= len(self._waiting))
            return [self._waiting.popleft() for _ in range(size)]

    def _run_together(self, calls: list[_Call]) -> None:
        """Run a batch; where it fails, each call alone, so that one's failure is nobody else's."""
        size = len(calls)
        try:
            names = calls[0].inputs
            joined = {name: np.concatenate([call.inputs[name] for call in calls]) for name in names}
            outputs = self._engines[size].run(calls[0].inputs if size == 1 else joined)
        except BaseException as error:
            if size == 1:
                calls[0].outputs.set_exception(error)
            else:
                for call in calls:
                    self._run_together([call])
            return
        self.runs[size] += 1
        for place, call in enumerate(calls):
            call.outputs.set_result({name: value[place : place + 1] for name, value in outputs.items()})


class _Front:
    """See `SharedEngine.front`."""

    def __init__(self, shared: SharedEngine) -> None:
        self.backend, self.inputs, self.outputs = shared.backend, shared.inputs, shared.outputs
        self._shared: SharedEngine | None = shared

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self._shared is None:
            raise closed()
        return self._shared.run(inputs)

    def close(self) -> None:
        self._shared = None


def _pinned(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(axis or 1 for axis in spec.shape)
