"""What is remembered of a person beyond one frame: one home for all stages, dropped with the track."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any, TypeVar

StateT = TypeVar("StateT")


class TrackMemory:
    """The state that stages keep for each track (smoothing, calibration, identity); from any thread.

    A stage recalls its own state by its name; the face stage says which tracks are still followed, and what
    belongs to another is dropped. Each state is used by its own stage alone, on its thread.
    """

    def __init__(self) -> None:
        self._states: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def recall(self, track_id: int, stage: str, make: Callable[[], StateT]) -> StateT:
        """What the stage remembers of a track; made anew where that is nothing."""
        with self._lock:
            states = self._states.setdefault(track_id, {})
            if stage not in states:
                states[stage] = make()
            state: StateT = states[stage]
            return state

    def renew(self, track_id: int, stage: str, make: Callable[[], StateT]) -> StateT:
        """As `recall`, but whatever the stage remembered is forgotten."""
        with self._lock:
            self._states.get(track_id, {}).pop(stage, None)
        return self.recall(track_id, stage, make)

    def keep(self, track_ids: Collection[int]) -> None:
        """Forget all other tracks."""
        with self._lock:
            self._states = {track: states for track, states in self._states.items() if track in track_ids}

    def __len__(self) -> int:
        """How many tracks something is remembered of."""
        return len(self._states)
