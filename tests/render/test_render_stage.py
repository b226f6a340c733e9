from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from render.render_helpers import capture_of, square

from stream.errors import ConfigError, InputError
from stream.render import stage as stage_module
from stream.render.stage import LineCache, PreviewStage, RenderStage
from stream.types import Capture


@pytest.fixture
def opened(egl):
    """Opens stages and closes them again; ``egl`` is here for its skip."""
    egl.close()
    stages = []

    def open_stage(stage):
        stages.append(stage)
        stage.open()
        return stage

    yield open_stage
    for stage in stages:
        stage.close()


def test_one_view_is_a_square_picture_of_the_mesh(opened):
    stage = opened(RenderStage(size=160))
    capture = capture_of(square(colour=(250, 20, 10)))
    done = stage(capture)
    assert stage.name == "render"
    assert done.picture.shape == (160, 160, 3)
    assert done.picture.dtype == np.uint8
    assert (done.picture[80, 80] == (250, 20, 10)).all()
    assert (done.picture == (250, 20, 10)).all(axis=2).mean() > 0.4  # the face fills the picture
    assert replace(done, picture=None) == capture
    again = stage(capture_of(square(colour=(0, 255, 0))))
    assert (done.picture[80, 80] == (250, 20, 10)).all()
    assert (again.picture[80, 80] == (0, 255, 0)).all()


def test_without_a_face_the_picture_says_so(opened):
    stage = opened(RenderStage(size=160))
    capture = capture_of()
    before = stage(capture)
    assert before.picture[70:90].max() > 90  # the words
    assert before.picture[:40].max() < 60
    stage(capture_of(square()))
    assert (stage(capture).picture == before.picture).all()


def test_a_bad_frame_or_mesh_is_refused_and_the_next_goes_through(opened):
    stage, preview = opened(RenderStage(size=64)), PreviewStage(height=64)
    mesh = square()
    with pytest.raises(InputError):
        stage(capture_of(replace(mesh, uv=mesh.uv[:3])))
    for image in (np.zeros((96, 128, 3), dtype=np.float32), np.zeros((96, 128), dtype=np.uint8)):
        with pytest.raises(InputError, match="frame"):
            preview(capture_of(mesh, image=image))
    assert stage(capture_of(mesh)).picture is not None


def test_stages_refuse_what_they_cannot_draw():
    for size in (0, 15, 100_000):
        with pytest.raises(ConfigError, match="16 to 4096"):
            RenderStage(size=size)
        with pytest.raises(ConfigError, match="16 to 4096"):
            PreviewStage(height=size)


def test_a_stage_that_is_not_open_says_so_and_closes_quietly():
    stage = RenderStage()
    with pytest.raises(InputError, match="not open"):
        stage(capture_of(square()))
    stage.close()


def test_the_preview_shows_the_mesh_from_two_sides(opened):
    stage = opened(PreviewStage(lambda: ["30.0 fps"], height=120))
    relief = square(side=90.0, cells=30, colour=(240, 30, 30))
    vertices = relief.vertices.copy()
    vertices[:, 2] -= 60 * np.exp(-(vertices[:, 0] ** 2 + vertices[:, 1] ** 2) / 300)
    texture = np.full((64, 64, 3), (240, 30, 30), dtype=np.uint8)
    texture[28:36, 28:36] = (30, 240, 30)
    relief = replace(relief, vertices=vertices, texture=texture)
    capture = capture_of(relief)
    picture = stage(capture).picture
    layout = stage._layout
    assert picture.shape == (layout.size[1], layout.size[0], 3)
    left = picture[:, -2 * layout.pane[0] - 12 : -layout.pane[0] - 12].astype(int)
    right = picture[:, -layout.pane[0] - 6 : -6].astype(int)
    red = np.argwhere(left[..., 0] - left[..., 1] > 100)
    green = np.argwhere(left[..., 1] - left[..., 0] > 100)
    assert len(green) > 5
    assert green[:, 1].mean() < red[:, 1].mean() - 8  # turned to the left: the tip stands out there
    assert np.ptp(right, axis=2).max() < 40  # clay, no colours
    assert right.max() > 150


def test_the_preview_keeps_its_size_whatever_comes(opened):
    stage = opened(PreviewStage(height=100))
    shapes = set()
    for image in (None, np.zeros((50, 300, 3), np.uint8), np.zeros((301, 77, 3), np.uint8)):
        for meshes in ((), (square(),), (square(), square(x=150.0))):
            shapes.add(stage(capture_of(*meshes, image=image)).picture.shape)
    assert len(shapes) == 1
    with pytest.raises(InputError, match="frame"):
        stage(Capture(replace(capture_of().frame, image=np.zeros((0, 4, 3), np.uint8))))


def test_figures_are_asked_for_a_few_times_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stage_module.time, "monotonic", lambda: now[0])
    asked = []
    cache = LineCache(lambda: asked.append(0) or [f"{len(asked)}"])
    first = cache.lines()
    assert first == ("1",)
    now[0] += 0.1
    assert cache.lines() is first
    now[0] += 0.15
    assert cache.lines() == ("2",)
