import itertools

import numpy as np
import pytest
from face.face_helpers import landmarks_of, pose_matrix

from stream.face.tracks import KEEP_SECONDS, Tracks, face_size
from stream.types import Array

RATE = 30.0


def face(x: float, y: float = 0.0, z: float = 600.0, yaw: float = 0.0) -> Array:
    """Landmarks of a head at (x, y, z) mm; 600 mm away, its size is about 110 pixels."""
    return landmarks_of(pose_matrix(yaw, 0, 0, (x, y, z)))


def test_the_size_is_twice_the_root_mean_square_radius() -> None:
    ring = np.array([[0, 0], [2, 0], [0, 2], [2, 2]], np.float32)
    assert face_size(ring) == pytest.approx(2 * np.sqrt(2))


def test_each_face_keeps_its_id_and_the_largest_comes_first() -> None:
    tracks = Tracks(max_faces=3)
    for index in range(20):
        near, far = face(-150 + index, z=500), face(150 - index, z=900)
        detections = [far, near] if index % 2 else [near, far]
        seen = tracks.update(detections, index / RATE)
        assert [track.track_id for track in seen] == [0, 1]
        assert seen[0].raw is near


@pytest.mark.parametrize("hidden", [range(0), range(28, 33), range(25, 36)])
def test_ids_stay_when_faces_cross_even_if_one_is_hidden_meanwhile(hidden: range) -> None:
    tracks = Tracks(max_faces=2)
    ids: dict[str, set[int]] = {"rightwards": set(), "leftwards": set()}
    for index in range(60):
        place = -200 + index * 400 / 60
        rightwards, leftwards = face(place, z=600, yaw=-30), face(-place, z=700, yaw=30)
        detections = [rightwards] if index in hidden else [leftwards, rightwards]
        for track in tracks.update(detections, index / RATE):
            ids["rightwards" if track.raw is rightwards else "leftwards"].add(track.track_id)
    assert ids["rightwards"].isdisjoint(ids["leftwards"])
    assert len(ids["rightwards"]) == len(ids["leftwards"]) == 1


@pytest.mark.parametrize(("gap", "same"), [(KEEP_SECONDS - 0.05, True), (KEEP_SECONDS + 0.05, False)])
def test_a_face_that_comes_back_soon_is_the_same(gap: float, same: bool) -> None:
    tracks = Tracks()
    tracks.update([face(0)], 10.0)
    assert tracks.update([], 10.1) == []
    (back,) = tracks.update([face(20)], 10.0 + gap)
    assert (back.track_id == 0) is same
    np.testing.assert_array_equal(back.landmarks, face(20))  # and does not slide from its old place


def test_a_face_elsewhere_is_another_face() -> None:
    tracks = Tracks()
    tracks.update([face(-200)], 0.0)
    (other,) = tracks.update([face(200)], 1 / RATE)
    assert other.track_id == 1


def test_only_so_many_faces_the_largest_are_kept() -> None:
    faces = [face(x, z=z) for x, z in ((-200, 900), (0, 500), (200, 700))]
    for order in itertools.permutations(faces):
        seen = Tracks(max_faces=2).update(list(order), 0.0)
        assert [track.raw is kept for track, kept in zip(seen, faces[1:], strict=True)] == [True, True]


def test_a_face_found_twice_is_one_face() -> None:
    seen = Tracks(max_faces=4).update([face(0), face(3), face(300), face(0, z=620)], 0.0)
    assert len(seen) == 2


def test_smoothing_is_on_unless_switched_off() -> None:
    rng = np.random.default_rng(0)
    noisy = [face(0) + rng.normal(0, 0.5, (478, 3)).astype(np.float32) for _ in range(60)]
    moved = {}
    for smooth in (True, False):
        tracks = Tracks(smooth=smooth)
        out = np.array([tracks.update([one], index / RATE)[0].landmarks for index, one in enumerate(noisy)])
        moved[smooth] = np.diff(out[20:], axis=0).std()
    assert moved[True] < 0.35 * moved[False]
    assert moved[False] == pytest.approx(np.diff(noisy[20:], axis=0).std())


def test_time_that_goes_back_and_a_reset_forget_but_use_no_id_twice() -> None:
    tracks = Tracks()
    tracks.update([face(0)], 5.0)
    assert tracks.update([face(0)], 4.0)[0].track_id == 1
    tracks.reset()
    assert tracks.update([face(0)], 4.1)[0].track_id == 2


def test_two_frames_of_the_same_time_are_no_harm() -> None:
    tracks = Tracks()
    tracks.update([face(0)], 5.0)
    (track,) = tracks.update([face(5)], 5.0)
    assert track.track_id == 0
    assert np.isfinite(track.velocity).all()
    np.testing.assert_array_equal(track.landmarks, face(5))
