"""What the expression stage says of faces whose expression is known."""

import numpy as np
import pytest
from expression.expression_helpers import capture, codes, make_face, opened, play, value
from people import expressions_of

from stream.errors import BackendError, ConfigError
from stream.expression.stage import ExpressionStage

SECOND = 30

STRONG = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthPucker", "mouthFunnel", "mouthLeft",
    "mouthRollLower", "browOuterUpLeft", "browDownRight", "browInnerUp", "eyeBlinkLeft",
)  # fmt: skip


def held(seconds: float, **coefficients: float) -> np.ndarray:
    return np.tile(codes(**coefficients), (round(seconds * SECOND), 1))


@pytest.mark.parametrize("name", STRONG)
def test_one_movement_is_told_from_the_others(name: str) -> None:
    stage = opened()
    play(stage, held(0.5))
    found = play(stage, held(1, **{name: 0.6}), start=1.5)[-1]
    assert value(found, name) == pytest.approx(0.6, abs=0.2)
    others = np.abs(found - codes(**{name: value(found, name)}))
    assert others.max() < 0.2


@pytest.mark.parametrize("angles", [(0.4, 0.0, 0.0), (0.0, -0.25, 0.0), (-0.3, 0.15, 0.4)])
def test_a_turned_head_shows_the_same(angles: tuple[float, float, float]) -> None:
    stage = opened()
    play(stage, held(0.5), angles=angles)
    found = play(stage, held(1, jawOpen=0.5, mouthSmileLeft=0.5), start=1.5, angles=angles)[-1]
    assert value(found, "jawOpen") == pytest.approx(0.5, abs=0.12)
    assert value(found, "mouthSmileLeft") == pytest.approx(0.5, abs=0.15)
    assert value(found, "mouthSmileRight") < 0.12


@pytest.mark.parametrize("ipd_mm", [56.0, 70.0])
def test_the_size_of_the_head_does_not_matter(ipd_mm: float) -> None:
    stage = opened(ipd_mm)
    play(stage, held(0.5), ipd_mm=ipd_mm)
    found = play(stage, held(1, jawOpen=0.5), start=1.5, ipd_mm=ipd_mm)[-1]
    assert value(found, "jawOpen") == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_another_persons_face_at_rest_comes_to_rest(seed: int) -> None:
    drawn = np.random.default_rng(seed).normal(size=12)
    found = play(opened(), held(5), identity=dict(enumerate(drawn)))
    assert found[-1].max() < 0.1


def test_a_long_smile_stays_a_smile_and_then_ends() -> None:
    stage = opened()
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "jawOpen": 0.3}
    play(stage, held(2))
    found = play(stage, held(10, **smile), start=3.0)
    first, last = value(found[SECOND], "mouthSmileLeft"), value(found[-1], "mouthSmileLeft")
    assert first > 0.6
    assert last > first - 0.08
    after = play(stage, held(2), start=13.0)[-1]
    assert after.max() < 0.08


def test_whoever_comes_smiling_is_found_out_later() -> None:
    stage = opened()
    found = play(stage, held(3, mouthSmileLeft=0.7, mouthSmileRight=0.7))
    assert value(found[-1], "mouthSmileLeft") > 0.35
    play(stage, held(4), start=4.0)
    found = play(stage, held(1, mouthSmileLeft=0.7, mouthSmileRight=0.7), start=8.0)
    assert value(found[-1], "mouthSmileLeft") > 0.55


def test_a_still_face_is_calm() -> None:
    found = play(opened(), held(4, jawOpen=0.2), noise=0.2)[2 * SECOND :]
    assert found.std(axis=0).max() < 0.02


def test_shut_eyes_keep_their_gaze() -> None:
    stage = opened()
    looking = codes()
    for seconds, blink in ((0.0, 0.0), (0.1, 1.0)):
        face = make_face(codes(eyeBlinkLeft=blink, eyeBlinkRight=blink))
        # The irises are moved by hand: of a shut eye the tracker places them anywhere.
        face.landmarks[468:, 0] += 5.0 if blink == 0 else -40.0
        looking = expressions_of(stage(capture(face, time=1 + seconds)))[0].coefficients
    assert value(looking, "eyeLookOutLeft") > 0.1
    assert value(looking, "eyeLookInLeft") == 0


def test_every_face_has_its_own_expression_in_order() -> None:
    stage = opened()
    open_mouth, shut = make_face(codes(jawOpen=0.8), track=4), make_face(codes(), track=7)
    first = expressions_of(stage(capture(open_mouth, shut)))
    second = expressions_of(stage(capture(shut, open_mouth, time=1.04)))
    assert value(first[0].coefficients, "jawOpen") > 0.5 > value(first[1].coefficients, "jawOpen")
    assert value(second[1].coefficients, "jawOpen") > 0.5 > value(second[0].coefficients, "jawOpen")
    assert expressions_of(stage(capture(time=1.1))) == ()
    for expression in (*first, *second):
        assert expression.coefficients.dtype == np.float32
        assert expression.coefficients.shape == (52,)
        assert ((expression.coefficients >= 0) & (expression.coefficients <= 1)).all()


def test_a_new_number_and_time_going_back_begin_anew() -> None:
    courses, somebody = held(2, mouthFrownLeft=0.4), {0: 1.5, 3: -1.0}
    fresh = play(opened(), courses[:1], noise=0.0, identity=somebody)[0]
    for start, track in ((3.0, 1), (0.5, 0)):
        stage = opened()
        play(stage, courses, identity=somebody)
        again = play(stage, courses[:1], start=start, noise=0.0, identity=somebody, track=track)[0]
        np.testing.assert_allclose(again, fresh, atol=1e-6)


def test_landmarks_of_nothing_give_finite_coefficients() -> None:
    stage = opened()
    face = make_face(codes())
    face.landmarks[:] = np.random.default_rng(1).uniform(-1e4, 1e4, face.landmarks.shape)
    for seconds in (0.0, 0.03, 0.06):
        found = expressions_of(stage(capture(face, time=1 + seconds)))[0].coefficients
        assert np.isfinite(found).all()


def test_it_must_be_open_and_takes_a_sensible_distance() -> None:
    with pytest.raises(BackendError, match="not open"):
        ExpressionStage()(capture())
    stage = opened()
    stage.close()
    with pytest.raises(BackendError, match="not open"):
        stage(capture())
    with pytest.raises(ConfigError, match="inter-pupil"):
        ExpressionStage(5.0)
