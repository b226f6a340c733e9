"""One network for several threads: batches, results, failures."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest
from tiny_models import tiny_depth_model

from stream.errors import BackendError, InputError, ModelError
from stream.inference.backends import load_engine
from stream.inference.engine import Engine, TensorSpec
from stream.inference.shared import SharedEngine
from stream.types import Array


class FakeEngine:
    """Doubles its input; its clock says what the tests want a batch to take."""

    backend = "fake"

    def __init__(self, batch: int, world: World) -> None:
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("x", (batch, 2), "float32"),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("y", (batch, 2), "float32"),)
        self.batch, self.world, self.closed = batch, world, False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert inputs["x"].shape == (self.batch, 2)
        self.world.now += self.world.seconds[self.batch]
        if self.world.hold is not None:
            self.world.running.set()
            assert self.world.hold.wait(10)
        if (inputs["x"] < 0).any():
            raise InputError("A negative input.")
        return {"y": inputs["x"] * 2}

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self, **seconds: float) -> None:
        self.seconds = {int(name[1:]): value for name, value in seconds.items()}
        self.now = 0.0
        self.hold: threading.Event | None = None
        self.running = threading.Event()
        self.engines: dict[int, FakeEngine] = {}

    def load(self, batch: int) -> Engine:
        if batch not in self.seconds:
            raise ModelError("Not exported for that batch.")
        self.engines[batch] = FakeEngine(batch, self)
        return self.engines[batch]

    def shared(self, most: int = 4) -> SharedEngine:
        return SharedEngine(self.load, most, clock=lambda: self.now)


def row(value: float) -> dict[str, Array]:
    return {"x": np.full((1, 2), value, np.float32)}


def together(world: World, shared: SharedEngine, values: list[float]) -> dict[float, Array | Exception]:
    """Results of calls that all wait while another one runs."""
    results: dict[float, Array | Exception] = {}
    world.hold = threading.Event()

    def call(value: float) -> None:
        try:
            results[value] = shared.run(row(value))["y"]
        except InputError as error:
            results[value] = error

    first = threading.Thread(target=call, args=(0.0,))
    first.start()
    assert world.running.wait(10)
    others = [threading.Thread(target=call, args=(value,)) for value in values]
    for number, thread in enumerate(others):
        thread.start()
        while len(shared._waiting) <= number:
            threading.Event().wait(0.001)
    world.hold.set()
    for thread in (first, *others):
        thread.join(10)
    return results


def test_only_batches_that_pay_are_kept() -> None:
    world = World(_1=0.010, _2=0.016, _4=0.031, _8=0.01)
    shared = world.shared(most=8)
    assert shared.sizes == (2, 1)  # four take 7.75 ms a call, hardly less than the 8 of two
    assert world.engines[4].closed
    assert 8 not in world.engines
    shared.close()
    assert all(engine.closed for engine in world.engines.values())


def test_a_model_of_one_batch_size_runs_alone() -> None:
    shared = World(_1=0.01).shared()
    assert shared.sizes == (1,)
    np.testing.assert_array_equal(shared.run(row(3))["y"], [[6, 6]])
    shared.close()


def test_a_batch_that_loads_but_cannot_run_is_done_without() -> None:
    world = World(_1=0.010, _2=0.012)
    run = FakeEngine.run

    class Weak(FakeEngine):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            if self.batch == 2:
                raise BackendError("Out of memory.")
            return run(self, inputs)

    def load(batch: int) -> Engine:
        world.engines[batch] = Weak(batch, world)
        return world.engines[batch]

    shared = SharedEngine(load, 4, clock=lambda: world.now)
    assert shared.sizes == (1,)
    assert world.engines[2].closed
    assert shared.run(row(3))["y"][0, 0] == 6
    shared.close()


def test_no_batch_is_tried_for_one_session() -> None:
    world = World(_1=0.01, _2=0.01)
    shared = world.shared(most=1)
    assert list(world.engines) == [1]
    shared.close()


def test_calls_that_wait_run_as_one_batch_and_get_their_own_results() -> None:
    world = World(_1=0.010, _2=0.012, _4=0.016)
    shared = world.shared()
    results = together(world, shared, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert {value: float(np.asarray(result)[0, 1]) for value, result in results.items()} == {
        value: 2 * value for value in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    }
    assert shared.runs == {1: 2, 4: 1}
    shared.close()


def test_one_calls_failure_is_nobody_elses() -> None:
    world = World(_1=0.010, _2=0.012, _4=0.016)
    shared = world.shared()
    results = together(world, shared, [1.0, -2.0, 3.0, 4.0])
    assert isinstance(results[-2.0], InputError)
    assert [float(np.asarray(results[value])[0, 0]) for value in (1.0, 3.0, 4.0)] == [2, 6, 8]
    shared.close()


def test_inputs_that_do_not_fit_never_reach_the_network() -> None:
    shared = World(_1=0.01).shared()
    with pytest.raises(InputError, match="must be float32"):
        shared.run({"x": np.zeros((2, 2), np.float32)})
    assert not shared.runs
    shared.close()


def test_a_network_that_cannot_be_loaded_says_so() -> None:
    with pytest.raises(ModelError, match="Not exported"):
        World().shared()


def test_closing_fails_who_waits_and_who_comes() -> None:
    world = World(_1=0.01)
    shared = world.shared()
    front = shared.front()
    world.hold, errors = threading.Event(), []

    def call() -> None:
        try:
            shared.run(row(1))
        except ModelError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(2)]
    threads[0].start()
    assert world.running.wait(10)
    threads[1].start()
    while not shared._waiting:
        threading.Event().wait(0.001)
    closing = threading.Thread(target=shared.close)
    closing.start()
    threads[1].join(10)
    world.hold.set()
    for thread in (*threads, closing):
        thread.join(10)
    assert len(errors) == 1  # the one that ran got its result
    with pytest.raises(ModelError, match="closed"):
        front.run(row(1))
    shared.close()


def test_a_front_closes_for_its_user_only() -> None:
    shared = World(_1=0.01).shared()
    first, second = shared.front(), shared.front()
    assert (first.backend, first.inputs) == ("fake", shared.inputs)
    first.close()
    with pytest.raises(ModelError, match="closed"):
        first.run(row(1))
    assert second.run(row(1))["y"][0, 0] == 2
    shared.close()


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_batches_give_what_single_runs_give(backend: str) -> None:
    model = tiny_depth_model(16)
    single = load_engine(model, backend, 1, "f32")
    shared = SharedEngine(lambda batch: load_engine(model, backend, 1, "f32", batch), clock=lambda: 0.0)
    assert shared.sizes == (4, 2, 1)
    pictures = np.random.default_rng(3).random((12, 1, 3, 16, 16), dtype=np.float32)
    results: dict[int, dict[str, Array]] = {}

    def work(session: int) -> None:
        for number in range(session, 12, 4):
            results[number] = shared.run({"image": pictures[number]})

    threads = [threading.Thread(target=work, args=(session,)) for session in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number, result in results.items():
        for name, value in single.run({"image": pictures[number]}).items():
            assert result[name].shape == value.shape
            np.testing.assert_allclose(result[name], value, atol=1e-5)
    assert len(results) == 12
    shared.close()
    single.close()
