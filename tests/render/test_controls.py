from __future__ import annotations

from stream.render.controls import HELP, Action, Controls
from stream.render.display import Event
from stream.render.scene import MODES


def press(controls, *keys):
    return controls.apply([Event("key", key) for key in keys])


def test_digits_choose_the_modes():
    controls = Controls()
    assert controls.mode == "textured"
    for i, mode in enumerate(MODES):
        assert press(controls, str(i + 1)) == []
        assert controls.mode == mode
    press(controls, "0", "9", "²")
    assert controls.mode == MODES[-1]


def test_letters_toggle_and_act():
    controls = Controls()
    press(controls, "v", "h")
    assert controls.over_input
    assert controls.show_help
    press(controls, "v", "h", "v", "v")
    assert not controls.over_input
    assert not controls.show_help
    assert press(controls, "s", "x", "w", "space") == [Action.SCREENSHOT, Action.RECORD]
    assert press(controls, "q") == press(controls, "escape") == [Action.QUIT]


def test_the_mouse_turns_and_zooms_and_r_resets():
    controls = Controls()
    start = (controls.orbit.yaw, controls.orbit.pitch, controls.orbit.zoom)
    assert controls.apply([Event("drag", dx=0.1, dy=0.05), Event("scroll", dy=2)]) == []
    assert controls.orbit.yaw > start[0]
    assert controls.orbit.pitch > start[1]
    assert controls.orbit.zoom > start[2]
    press(controls, "r")
    assert (controls.orbit.yaw, controls.orbit.pitch, controls.orbit.zoom) == start


def test_help_names_every_mode():
    text = " ".join(HELP)
    assert all(mode in text for mode in MODES)
