"""The mesh stage in a pipeline."""

from dataclasses import replace

import numpy as np
import pytest
from mesh.mesh_samples import dome, inner, sample_face, sample_frame

from stream.compute.backends import why_not
from stream.depth.sight import line_of_sight, sight_tilt
from stream.errors import BackendError, InputError
from stream.mesh.stage import MeshStage
from stream.types import Capture, Depth


def capture(captured: float, *heights: float) -> Capture:
    faces = tuple(sample_face(track_id) for track_id in range(len(heights)))
    return Capture(sample_frame(captured), faces, tuple(dome(height=height) for height in heights))


def test_each_face_gets_its_mesh_and_the_capture_stays() -> None:
    stage = MeshStage()
    stage.open()
    given = capture(0.0, 0.2, 0.4)
    result = stage(given)
    stage.close()
    assert given.meshes == ()
    assert len(result.meshes) == 2
    nearest = [mesh.vertices[mesh.valid, 2] for mesh in result.meshes]
    assert np.ptp(nearest[1]) == pytest.approx(2 * np.ptp(nearest[0]), rel=1e-4)


def test_no_faces_give_no_meshes() -> None:
    stage = MeshStage()
    stage.open()
    assert stage(Capture(sample_frame())).meshes == ()


@pytest.mark.parametrize("smooth", [True, False])
def test_smoothing_has_a_switch(smooth: bool) -> None:
    stage = MeshStage(smooth=smooth)
    stage.open()
    stage(capture(0.0, 0.20))
    second = capture(1 / 30, 0.21)
    result = stage(second)
    unchanged = np.array_equal(result.depths[0].map, second.depths[0].map)
    assert unchanged is not smooth
    mesh, depth = result.meshes[0], result.depths[0]
    expected = 640 + depth.map.ravel() * (100 / 620 * 640)
    inside = inner(mesh.valid)
    assert inside.sum() > 900
    np.testing.assert_allclose(mesh.vertices[inside, 2], expected[inside], rtol=1e-6)


def test_the_tilt_of_a_face_that_crosses_the_image_does_not_lag() -> None:
    """What the network sees stays; depth along the axis tilts with the line of sight, exactly."""
    stage = MeshStage()
    stage.open()
    for index in range(20):
        still = capture(index / 30, 0.2)
        face = still.faces[0]
        crop = replace(face.crop, x=face.crop.x + 8 * index)
        tilt = sight_tilt(line_of_sight(crop, face.intrinsics), still.depths[0].map.shape[0])
        depth = replace(still.depths[0], map=still.depths[0].map - tilt)
        result = stage(replace(still, faces=(replace(face, crop=crop),), depths=(depth,)))
        np.testing.assert_allclose(result.depths[0].map, depth.map, atol=1e-5)
    # Smoothed along the axis it would lag: the tilt has changed by far more than that.
    assert np.ptp(tilt) > 0.2


def test_an_older_mesh_is_not_written_over() -> None:
    stage = MeshStage(smooth=False)
    stage.open()
    first = stage(capture(0.0, 0.2)).meshes[0]
    before = first.vertices.copy()
    stage(capture(0.1, 0.5))
    np.testing.assert_array_equal(first.vertices, before)


def test_reopened_it_has_no_past() -> None:
    stage = MeshStage()
    stage.open()
    stage(capture(0.0, 0.20))
    stage.close()
    stage.open()
    second = capture(1 / 30, 0.21)
    np.testing.assert_allclose(stage(second).depths[0].map, second.depths[0].map, atol=1e-6)


def test_bad_input_is_refused_and_the_next_works() -> None:
    stage = MeshStage()
    stage.open()
    good = capture(0.0, 0.2)
    with pytest.raises(InputError, match="one depth map for each face"):
        stage(replace(good, depths=()))
    with pytest.raises(InputError):
        stage(replace(good, depths=(Depth(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32)),)))
    assert len(stage(good).meshes[0].triangles) > 1000
    if why_not("cuda"):
        with pytest.raises(BackendError):
            MeshStage(compute="cuda").open()
