"""What a viewer can take: less at once when it falls behind, more again step by step."""

from __future__ import annotations

from dataclasses import dataclass

from stream.protocol.messages import Report
from stream.remote.server.sessions.mailbox import Tier

WINDOW = 0.5
"""Seconds over which frames are counted before the level may change."""

REPLACED = 0.2
"""Share of frames that the viewer could not be given in time: above, it gets less."""

LOSS = 0.15
"""Share of messages sent that did not arrive: above, it gets smaller ones, of which more come whole."""

LATE_MS = 250.0
"""A latency that much above the best one seen means that frames queue up on the way."""

PATIENCE, MOST_PATIENCE = 4.0, 60.0
"""Seconds without trouble before the next step up; doubled, up to the second, each time that the step before
did not hold."""

FORGET = 0.02
"""Share by which the best latency follows the latest one, second by second: clocks drift, paths change."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a viewer gets.

    :ivar tier: how fine.
    :ivar interval: seconds between two meshes of a face, at least.
    """

    tier: Tier
    interval: float


LEVELS = (
    Level(Tier.FULL, 0.0),
    Level(Tier.COARSE, 0.0),
    Level(Tier.HALF, 0.0),
    Level(Tier.HALF, 1 / 15),
    Level(Tier.HALF, 1 / 8),
    Level(Tier.HALF, 1 / 4),
)

SMALLEST = 2
"""The first level with the smallest messages: loss alone leads no further, for fewer are not lost less."""


class Adaptation:
    """Chooses the level of one viewer from what could be sent and what it reports. Pure logic.

    :param now: seconds on the clock of all later calls.
    """

    def __init__(self, now: float) -> None:
        self._place = 0
        self._began = self._changed = now
        self._patience = PATIENCE
        self._sent = self._replaced = self._sent_ever = 0
        self._reported: tuple[int, int] | None = None
        self._loss = 0.0
        self._best: float | None = None
        self._trouble = 0  # the level that it calls for
        self._rose = False

    @property
    def level(self) -> Level:
        """What the viewer is to get now."""
        return LEVELS[self._place]

    def sent(self) -> None:
        """A message was handed over."""
        self._sent += 1
        self._sent_ever += 1

    def replaced(self, count: int = 1) -> None:
        """Messages were replaced by newer ones before the link or the server could take them."""
        self._replaced += count

    def report(self, report: Report) -> None:
        """What the viewer tells.

        Loss is counted from what was sent here: a gap in the numbers may be another viewer's messages.
        """
        if self._reported is not None:
            sent, received = self._sent_ever - self._reported[0], report.received - self._reported[1]
            if sent >= 5 and received >= 0:
                self._loss = (self._loss + max(0.0, 1 - received / sent)) / 2
                if self._loss > LOSS:
                    self._trouble = max(self._trouble, SMALLEST)
        self._reported = self._sent_ever, report.received
        if report.latency_ms is not None:
            self._judge_latency(report.latency_ms)

    def _judge_latency(self, latency: float) -> None:
        if self._best is None or latency < self._best:
            self._best = latency
        elif latency > self._best + LATE_MS:
            self._trouble = len(LEVELS) - 1
        self._best += FORGET * (latency - self._best)

    def look(self, now: float) -> bool:
        """Decide, where a window has passed; whether the level is another one now."""
        if now - self._began < WINDOW:
            return False
        if self._replaced > REPLACED * (self._sent + self._replaced):
            self._trouble = len(LEVELS) - 1
        before, wanted = self._place, self._trouble
        self._began, self._sent, self._replaced, self._trouble = now, 0, 0, 0
        if wanted > self._place:
            self._step_down(now)
        elif wanted and wanted == self._place:
            self._changed = now  # less would not help, but more would not do either
        elif self._place > wanted and now - self._changed >= self._patience:
            self._place -= 1
            self._changed, self._rose = now, True
        return self._place != before

    def _step_down(self, now: float) -> None:
        if self._rose:
            held = now - self._changed >= self._patience
            self._patience = PATIENCE if held else min(2 * self._patience, MOST_PATIENCE)
        self._place += 1
        self._changed, self._rose = now, False
