"""The mesh stage: surfaces in, meshes out."""

from dataclasses import replace

import numpy as np
import pytest
from mesh.mesh_samples import dome, inner, sample_face, sample_frame
from people import filled

from stream.compute.backends import why_not
from stream.errors import BackendError, InputError
from stream.mesh.build import build_mesh, surface_of
from stream.mesh.stage import MeshStage
from stream.types import Capture, Person, Surface


def capture(captured: float, *heights: float) -> Capture:
    people = tuple(
        Person(sample_face(track_id), surface=surface_of(dome(height=height)))
        for track_id, height in enumerate(heights)
    )
    return Capture(sample_frame(captured), people, frozenset({"face", "surface"}))


def opened() -> MeshStage:
    stage = MeshStage()
    stage.open()
    return stage


def test_each_face_gets_its_mesh_and_the_capture_stays() -> None:
    stage, given = opened(), capture(0.0, 0.2, 0.4)
    result = stage(given)
    stage.close()
    assert given.meshes == ()
    assert filled(result) == [{"face", "surface", "mesh"}] * 2
    assert result.known == {"face", "surface", "mesh"}
    assert [one.surface for one in result.people] == [one.surface for one in given.people]
    nearest = [mesh.vertices[mesh.valid, 2] for mesh in result.meshes]
    assert np.ptp(nearest[1]) == pytest.approx(2 * np.ptp(nearest[0]), rel=1e-4)


def test_no_faces_give_no_meshes_but_it_is_known() -> None:
    result = opened()(Capture(sample_frame()))
    assert result.meshes == ()
    assert result.known == {"mesh"}


def test_whoever_has_no_surface_gets_no_mesh() -> None:
    given = capture(0.0, 0.2, 0.4)
    some = replace(given, people=(replace(given.people[0], surface=None), given.people[1]))
    assert filled(opened()(some)) == [{"face"}, {"face", "surface", "mesh"}]


def test_it_is_the_mesh_of_the_depth_at_the_faces_distance() -> None:
    depth = dome(height=0.2)
    (mesh,) = opened()(capture(0.0, 0.2)).meshes
    expected = 640 + depth.map.ravel() * (100 / 620 * 640)
    inside = inner(mesh.valid)
    assert inside.sum() > 900
    np.testing.assert_allclose(mesh.vertices[inside, 2], expected[inside], rtol=1e-6)
    built = build_mesh(sample_frame(), sample_face(), depth)
    np.testing.assert_array_equal(mesh.vertices, built.vertices)
    np.testing.assert_array_equal(mesh.triangles, built.triangles)
    np.testing.assert_array_equal(mesh.texture, built.texture)


def test_an_older_mesh_is_not_written_over() -> None:
    stage = opened()
    first = stage(capture(0.0, 0.2)).meshes[0]
    before = first.vertices.copy()
    stage(capture(0.1, 0.5))
    np.testing.assert_array_equal(first.vertices, before)


def test_bad_input_is_refused_and_the_next_works() -> None:
    stage, good = opened(), capture(0.0, 0.2)
    oblong = np.zeros((3, 4), np.float32)
    with pytest.raises(InputError):
        stage(replace(good, people=(replace(good.people[0], surface=Surface(oblong, oblong)),)))
    assert len(stage(good).meshes[0].triangles) > 1000
    if why_not("cuda"):
        with pytest.raises(BackendError):
            MeshStage(compute="cuda").open()
