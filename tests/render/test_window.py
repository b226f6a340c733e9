"""The window, driven as a person would, on a display of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from render.render_helpers import capture_of, square

from stream.errors import OutputError
from stream.pipeline.run import run_pipeline
from stream.pipeline.runner import Pipeline
from stream.render.display import Event
from stream.render.window import WindowStage, save_picture
from stream.sources.images import ImagesSource

pytestmark = pytest.mark.usefixtures("display")


class Person:
    """Puts events into a window's queue and counts its closing."""

    def __init__(self, folder):
        self.closings = 0
        self.stage = WindowStage(lambda: ["30.0 fps"], self._closed, size=(480, 360), folder=folder)
        self.stage.open()
        self.context: Any = self.stage._context
        self.swap: Callable[[], None] = lambda: None
        self.time = 0.0

    def _closed(self):
        self.closings += 1

    def show(self, capture, *keys):
        self.context._events += [Event("key", key) for key in keys]
        self.time += 1 / 30
        self.stage(capture_of(*capture.meshes, image=capture.frame.image, captured=self.time))
        return self.see()

    def wait(self, *events):
        """Do something while no capture comes; returns what is seen then."""
        self.context._events += events
        self.stage.idle()
        return self.see()

    def see(self):
        """What is in the window, (H, W, 3)."""
        if self.stage._context is None:
            return None
        gl = self.context.gl
        gl.finish()
        data = gl.screen.read(viewport=(*(0, 0), *self.context.size), components=3, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(*self.context.size[::-1], 3)[::-1]


@pytest.fixture
def person(tmp_path, monkeypatch):
    import glfw

    # A swap leaves the back buffer undefined; without it, what was drawn can be read.
    swap = glfw.swap_buffers
    monkeypatch.setattr(glfw, "swap_buffers", lambda window: None)
    person = Person(tmp_path / "out")
    person.swap = lambda: swap(person.context._window)
    yield person
    person.stage.close()


def test_the_window_shows_the_mesh_the_panel_and_every_mode(person):
    capture = capture_of(square(colour=(220, 30, 30)))
    shown = person.show(capture)
    assert shown.shape == (360, 480, 3)
    assert (shown[180, 240] == (220, 30, 30)).all()
    assert shown[14:60, 14:100].max() > 150  # the panel's words
    pictures = [person.show(capture, str(i)).copy() for i in range(1, 6)]
    for i, one in enumerate(pictures):
        assert all((one != other).any() for other in pictures[:i])
    with_help = person.show(capture, "h")
    assert (with_help != pictures[-1]).any(axis=2).sum() > 2000


def test_without_a_face_the_window_goes_on(person):
    assert person.show(capture_of()).shape == (360, 480, 3)
    assert (person.show(capture_of(square(colour=(220, 30, 30))))[180, 240] == (220, 30, 30)).all()


def test_the_cameras_view_lies_over_the_input(person):
    image = np.random.default_rng(3).integers(0, 256, (360, 480, 3), dtype=np.uint8)
    capture = capture_of(square(side=60.0, colour=(255, 0, 0)), image=image)
    shown = person.show(capture, "v")
    assert (shown[230:, :] == image[230:, :]).all()
    mesh = (shown == (255, 0, 0)).all(axis=2)
    rows, columns = np.nonzero(mesh)
    assert mesh.sum() == pytest.approx(40 * 40, abs=90)
    np.testing.assert_allclose((rows.mean(), columns.mean()), (179.5, 239.5), atol=0.6)


def test_a_resized_window_is_filled_and_the_text_keeps_its_size(person):
    capture = capture_of(square(colour=(220, 30, 30)))
    before = person.show(capture)
    person.context._glfw.set_window_size(person.context._window, 600, 500)
    for _ in range(40):
        person.swap()  # the driver takes the new size with a swap
        person.context._glfw.wait_events_timeout(0.05)
        shown = person.show(capture)
        if shown.shape == (500, 600, 3) and shown[:, -1].max() > 0:
            break
    assert shown.shape == (500, 600, 3)
    assert (shown[250, 300] == (220, 30, 30)).all()
    assert shown[:, -1].max() > 0
    np.testing.assert_array_equal(shown[20:40, 28:80] > 120, before[20:40, 28:80] > 120)


def test_a_screenshot_is_the_picture_without_the_panel(person, tmp_path):
    capture = capture_of(square(colour=(220, 30, 30)))
    shown = person.show(capture, "s")
    (path,) = (tmp_path / "out").iterdir()
    saved = np.asarray(Image.open(path))
    assert path.suffix == ".png"
    assert (saved[200:] == shown[200:]).all()
    assert saved[14:60, 14:100, 2].max() < 60  # no white words


def test_recording_starts_and_stops(person, tmp_path):
    capture = capture_of(square(colour=(220, 30, 30)))
    person.show(capture, "w")
    assert not list((tmp_path / "out").glob("prosopon-*"))  # not before it is whole
    for _ in range(9):
        person.show(capture)
    person.show(capture, "w")
    (path,) = (tmp_path / "out").iterdir()
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 10
    np.testing.assert_allclose(frames[5][180, 240], (220, 30, 30), atol=12)


def test_closing_ends_the_recording_and_tells_once(person, tmp_path):
    capture = capture_of(square())
    person.show(capture, "w")
    person.show(capture)
    person.show(capture, "q")
    assert person.closings == 1
    assert person.stage(capture) is capture
    assert person.closings == 1
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".mp4"]


def test_the_windows_own_close_button_ends_it_too(person):
    capture = capture_of(square())
    person.show(capture)
    person.context._glfw.set_window_should_close(person.context._window, True)
    person.show(capture)
    assert person.closings == 1


def test_while_nothing_comes_the_window_reacts_to_the_person(person):
    before = person.show(capture_of(square(side=40.0, tilt=0.5, colour=(220, 30, 30)))).copy()
    turned = person.wait(Event("drag", dx=0.3, dy=0.1)).copy()
    assert (turned != before).any(axis=2).sum() > 500
    in_another_mode = person.wait(Event("key", "3")).copy()
    assert (in_another_mode != turned).any(axis=2).sum() > 500
    assert (person.wait(Event("key", "h")) != in_another_mode).any(axis=2).sum() > 2000
    person.wait(Event("key", "q"))
    assert (person.closings, person.stage.holds, person.stage._context) == (1, False, None)
    person.stage.idle()
    assert person.closings == 1


def test_the_close_button_works_while_nothing_comes_and_before_anything_came(person):
    assert person.stage.holds
    assert person.wait(Event("key", "h")).shape == (360, 480, 3)
    person.context._glfw.set_window_should_close(person.context._window, True)
    person.wait()
    assert person.closings == 1


def deaf(person, monkeypatch):
    """From now on the display itself has nothing to say, only the test."""
    person.context.poll()
    monkeypatch.setattr(person.context._glfw, "poll_events", lambda: None)


def test_it_is_drawn_again_only_when_something_changed(person, monkeypatch):
    deaf(person, monkeypatch)
    person.show(capture_of(square()))
    draws = []
    draw = person.stage._scene.draw
    monkeypatch.setattr(person.stage._scene, "draw", lambda *args: draws.append(args) or draw(*args))
    for _ in range(5):
        person.wait()
    assert draws == []
    person.wait(Event("refresh"))
    assert len(draws) == 1
    person.stage._say("news")
    person.wait()
    person.wait()
    assert len(draws) == 2


def test_what_is_done_while_nothing_comes_can_be_recorded(person, tmp_path, monkeypatch):
    deaf(person, monkeypatch)
    person.show(capture_of(square(colour=(220, 30, 30))))
    person.wait(Event("key", "w"))
    for _ in range(4):
        person.wait(Event("drag", dx=0.1))
    person.wait()  # nothing changes, nothing is written
    person.wait(Event("key", "w"))
    (path,) = (tmp_path / "out").iterdir()
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert (abs(frames[-1].astype(int) - frames[0]).max(axis=2) > 40).sum() > 300


def test_a_recording_that_fails_as_the_person_quits_is_told_at_the_end(person, monkeypatch):
    capture = capture_of(square())
    person.show(capture, "w")

    def fail():
        raise OutputError("Cannot write x.mp4: No space left on device.")

    monkeypatch.setattr(person.stage._recorder, "close", fail)
    person.show(capture, "q")
    assert person.closings == 1
    with pytest.raises(OutputError, match="No space left"):
        person.stage.close()
    person.stage.close()


def test_a_single_picture_stays_until_the_person_quits(tmp_path):
    Image.new("RGB", (64, 48), (90, 90, 90)).save(tmp_path / "photo.png")
    stage = WindowStage(lambda: [], lambda: pipeline.stop(), size=(320, 240))
    seen = []
    idle = stage.idle

    def idle_and_quit():
        seen.append(stage._last.frame.source)
        if len(seen) == 5:
            stage._context._events.append(Event("key", "escape"))
        idle()

    stage.idle = idle_and_quit  # type: ignore[method-assign]
    pipeline = Pipeline(ImagesSource(tmp_path / "photo.png"), [], [stage], duration=30)
    summary = run_pipeline(pipeline)
    assert seen == ["photo.png"] * 5
    assert (summary.reason, summary.failures, summary.abandoned) == ("stopped", (), ())


def test_an_unwritable_folder_is_said_and_the_stream_goes_on(person, tmp_path):
    (tmp_path / "out").write_text("a file stands here")
    capture = capture_of(square())
    person.show(capture, "s")
    assert "Cannot write" in person.stage._message[0]
    person.show(capture, "w")
    assert person.stage._recorder is None
    assert person.show(capture) is not None


def test_pictures_that_cannot_be_saved_raise(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        save_picture(tmp_path / "file" / "x.png", np.zeros((4, 4, 3), dtype=np.uint8))
