"""What keys and the mouse do in the window."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from stream.render.display import Event
from stream.render.scene import MODES
from stream.render.view import OrbitView

MODE_KEYS = {str(i): mode for i, mode in enumerate(MODES, start=1)}

HELP = (
    "drag   turn the face",
    "scroll   zoom",
    f"1 - {len(MODES)}   {', '.join(MODES)}",
    "V   the camera's own view, over the picture",
    "R   reset the view",
    "S   save a screenshot",
    "W   start or stop recording",
    "H   hide or show this help",
    "Q, Esc   quit",
)


class Action(Enum):
    """What the window is asked to do beyond changing how it looks."""

    SCREENSHOT = "s"
    RECORD = "w"
    QUIT = "q"


class Controls:
    """The window's state, changed by events.

    :ivar mode: how the meshes are drawn, one of `MODES`.
    :ivar orbit: the orbit view.
    :ivar over_input: the camera's own view is on, with the input behind.
    :ivar show_help: the list of keys is shown.
    """

    def __init__(self) -> None:
        self.mode = "textured"
        self.orbit = OrbitView(yaw=20.0)
        self.over_input = False
        self.show_help = False

    def apply(self, events: Iterable[Event]) -> list[Action]:
        """Change the state by what happened, in order; returns what is left for the window to do."""
        actions = []
        for event in events:
            if event.kind == "drag":
                self.orbit.drag(event.dx, event.dy)
            elif event.kind == "scroll":
                self.orbit.scroll(event.dy)
            elif action := self._press(event.key):
                actions.append(action)
        return actions

    def _press(self, key: str) -> Action | None:
        if key in MODE_KEYS:
            self.mode = MODE_KEYS[key]
        elif key == "r":
            self.orbit.reset()
        elif key == "v":
            self.over_input = not self.over_input
        elif key == "h":
            self.show_help = not self.show_help
        elif key in ("q", "escape"):
            return Action.QUIT
        elif key in ("s", "w"):
            return Action(key)
        return None
