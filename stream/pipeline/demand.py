"""What is wanted of each frame: asked of the sinks as it is read, so that what nobody wants is not made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from stream.pipeline.plan import Plan

Demand = Mapping[str, float]
"""How many times a second a thing (of `Plan.wanted`) is wanted; `EVERY` for each frame."""

EVERY = math.inf


class Demands:
    """Which steps of a plan run on a frame, by what the sinks want when it comes.

    One decision for the whole frame, so that all of its branches agree. Not for use from two threads at once.

    :param demands: each says what one sink wants now.
    """

    def __init__(self, plan: Plan, demands: Sequence[Callable[[], Demand]]) -> None:
        self._plan, self._demands = plan, demands
        self._turns: dict[str, float] = {}
        self._steps: dict[frozenset[str], frozenset[str]] = {}

    def __call__(self, now: float) -> frozenset[str]:
        """Names of the steps to run on a frame that comes at ``now``, seconds on a steady clock."""
        due = frozenset(thing for thing, rate in self._rates().items() if self._takes_turn(thing, rate, now))
        if due not in self._steps:
            self._steps[due] = self._plan.steps_for(due)
        return self._steps[due]

    def _rates(self) -> dict[str, float]:
        rates: dict[str, float] = {}
        for demand in self._demands:
            for thing, rate in demand().items():
                rates[thing] = max(rate, rates.get(thing, 0.0))
        return rates

    def _takes_turn(self, thing: str, rate: float, now: float) -> bool:
        """Whether it is time; turns are counted from when the last was due, so that their rate comes out
        though no frame comes just then."""
        turn = self._turns.get(thing, -math.inf) + 1 / rate if rate > 0 else math.inf
        if now < turn:
            return False
        self._turns[thing] = turn if now - turn < 1 / rate else now
        return True
