"""The depth estimator on small networks whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import build_model, tiny_depth_model, tiny_depth_numpy

from stream.depth.estimator import MAX_SIDE, DepthEstimator
from stream.depth.preprocess import to_network
from stream.depth.sight import line_of_sight, sight_tilt
from stream.errors import BackendError, ConfigError, InputError, ModelError
from stream.face.crop import crop_image
from stream.geometry import intrinsics_from_fov
from stream.types import Crop

SIZE = 16
CROP = Crop(30.5, 22.0, 15.0, 0.3)


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    path.write_bytes(tiny_depth_model(SIZE))
    return path


@pytest.fixture(scope="module")
def estimator(tiny_path: Path) -> DepthEstimator:
    return DepthEstimator(model=tiny_path, threads=1, precision="f32")


def test_it_is_the_network_on_the_crop(estimator: DepthEstimator, tiny_path: Path) -> None:
    depth = estimator.estimate(picture(), CROP)
    expected = tiny_depth_numpy(to_network(crop_image(picture(), CROP, SIZE)), tiny_path.read_bytes())
    np.testing.assert_allclose(depth.map, expected[0][0, 0], atol=1e-5)
    np.testing.assert_allclose(depth.mask, expected[1][0, 0], atol=1e-5)
    assert depth.map.shape == depth.mask.shape == (SIZE, SIZE)
    assert depth.map.dtype == depth.mask.dtype == np.float32


def test_results_are_the_callers_own(estimator: DepthEstimator) -> None:
    first = estimator.estimate(picture(), CROP)
    kept = first.map.copy()
    other = estimator.estimate(255 - picture(), CROP)
    assert np.abs(other.map - kept).max() > 1e-3
    np.testing.assert_array_equal(first.map, kept)


def test_a_camera_tilts_the_depth_of_a_face_beside_its_axis(estimator: DepthEstimator) -> None:
    camera = intrinsics_from_fov(4 * SIZE, SIZE, 70.0)
    view = picture(SIZE, 4 * SIZE)
    beside = Crop(3.3 * SIZE, SIZE / 2, SIZE / 3, 0.1)
    for estimate in (estimator.estimate, estimator.estimate_flipped_mean):
        plain, tilted = estimate(view, beside), estimate(view, beside, camera)
        tilt = sight_tilt(line_of_sight(beside, camera), SIZE)
        assert np.abs(tilt).max() > 0.2
        np.testing.assert_allclose(tilted.map, plain.map - tilt, atol=1e-6)
        np.testing.assert_array_equal(tilted.mask, plain.mask)


def test_flipping_is_averaged_out(estimator: DepthEstimator) -> None:
    """The flipped mean of a mirrored crop is the mirror image of the crop's, though `estimate`'s is not."""
    image = picture(SIZE, SIZE)
    whole = Crop((SIZE - 1) / 2, (SIZE - 1) / 2, SIZE / 2, 0.0)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    mean, mirrored_mean = (estimator.estimate_flipped_mean(view, whole) for view in (image, mirrored))
    np.testing.assert_allclose(mirrored_mean.map, mean.map[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(mirrored_mean.mask, mean.mask[:, ::-1], atol=1e-6)
    plain, mirrored_plain = (estimator.estimate(view, whole) for view in (image, mirrored))
    assert np.abs(mirrored_plain.map - plain.map[:, ::-1]).max() > 1e-2
    np.testing.assert_allclose(mean.map, (plain.map + mirrored_plain.map[:, ::-1]) / 2, atol=1e-6)


def constant_model(**answers: np.ndarray) -> bytes:
    """A network that answers each named (S, S) or (C, S, S) to any black picture, NaN and all."""
    values = {name: np.atleast_3d(value.T).T[None].astype(np.float32) for name, value in answers.items()}
    size = values["depth"].shape[-1]
    nodes = [
        helper.make_node("Add", ["image", "one"], ["shifted"]),
        helper.make_node("ReduceSum", ["shifted", "axis"], ["zero"], keepdims=1),
        *(helper.make_node("Add", ["zero", f"{name}.value"], [name]) for name in values),
    ]
    stored = [numpy_helper.from_array(value, f"{name}.value") for name, value in values.items()]
    stored += [
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
        numpy_helper.from_array(np.ones(1, np.int64), "axis"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, size, size))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", *value.shape[1:]))
        for name, value in values.items()
    ]
    return build_model(nodes, [image], outputs, stored)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_values_that_are_not_finite_are_replaced_and_counted(tmp_path: Path, backend: str) -> None:
    depth, mask = np.full((4, 4), 0.25, np.float32), np.full((4, 4), 0.75, np.float32)
    depth[0, 0], depth[1, 1], mask[2, 2] = np.nan, np.inf, np.nan
    mask[3, 0], mask[3, 3] = -0.5, 1.5
    (tmp_path / "m.onnx").write_bytes(constant_model(depth=depth, mask=mask))
    estimator = DepthEstimator(backend, tmp_path / "m.onnx", threads=1, precision="f32")
    assert estimator.repaired == 0
    black = np.zeros((8, 8, 3), np.uint8)
    for count, estimate in enumerate((estimator.estimate, estimator.estimate_flipped_mean), start=1):
        result = estimate(black, Crop(3.5, 3.5, 4.0, 0.0))
        assert np.isfinite(result.map).all()
        assert estimator.repaired == count
        for y, x in ((0, 0), (1, 1), (2, 2)):
            assert result.map[y, x] == result.mask[y, x] == 0.0
        assert result.mask.min() >= 0.0
        assert result.mask.max() <= 1.0
        assert result.map[0, 1] == 0.25
        assert result.mask[0, 1] == 0.75


SLOPES = np.random.default_rng(3).normal(0, 0.7, (2, 4, 4)).astype(np.float32)


def normals(slopes: np.ndarray) -> np.ndarray:
    """(3, S, S) unit normals (p, q, -1) / |.| of slopes (2, S, S)."""
    normal = np.concatenate([slopes, np.full_like(slopes[:1], -1)])
    return normal / np.linalg.norm(normal, axis=0)


def full_model(tmp_path: Path, **changed: np.ndarray) -> DepthEstimator:
    """A network with all four outputs that answers the same to black pictures."""
    answers = {
        "depth": np.full((4, 4), 0.25),
        "mask": np.full((4, 4), 0.75),
        "confidence": np.linspace(0, 1, 16).reshape(4, 4),
        "normal": normals(SLOPES),
    }
    (tmp_path / "m.onnx").write_bytes(constant_model(**answers | changed))
    return DepthEstimator(model=tmp_path / "m.onnx", threads=1, precision="f32")


BLACK = np.zeros((8, 8, 3), np.uint8)
WHOLE = Crop(3.5, 3.5, 4.0, 0.0)


def test_a_network_without_them_gives_no_confidence_and_no_normals(estimator: DepthEstimator) -> None:
    for estimate in (estimator.estimate, estimator.estimate_flipped_mean):
        depth = estimate(picture(), CROP)
        assert depth.confidence is None
        assert depth.normal is None


def test_confidence_and_normals_are_read(tmp_path: Path) -> None:
    depth = full_model(tmp_path).estimate(BLACK, WHOLE)
    assert depth.confidence is not None
    assert depth.normal is not None
    np.testing.assert_allclose(depth.confidence, np.linspace(0, 1, 16).reshape(4, 4), atol=1e-6)
    np.testing.assert_allclose(depth.normal, normals(SLOPES).transpose(1, 2, 0), atol=1e-6)
    assert depth.normal.dtype == depth.confidence.dtype == np.float32
    assert depth.normal.flags.c_contiguous


def test_the_mirror_image_turns_normals_left_to_right(tmp_path: Path) -> None:
    """This network says the same to the mirrored picture: what is not symmetric must average out."""
    depth = full_model(tmp_path).estimate_flipped_mean(BLACK, WHOLE)
    assert depth.confidence is not None
    assert depth.normal is not None
    np.testing.assert_allclose(depth.confidence, depth.confidence[:, ::-1], atol=1e-6)
    mirror_image = depth.normal[:, ::-1] * (-1, 1, 1)
    np.testing.assert_allclose(depth.normal, mirror_image, atol=1e-6)
    one, other = normals(SLOPES), normals(SLOPES)[:, :, ::-1].copy()
    other[0] *= -1
    expected = (one + other) / np.linalg.norm(one + other, axis=0)
    np.testing.assert_allclose(depth.normal, expected.transpose(1, 2, 0), atol=1e-6)
    assert np.abs(depth.normal[..., 0]).max() > 0.1


def test_normals_are_those_of_the_depth_that_is_returned(tmp_path: Path) -> None:
    """A plane seen beside the axis: its map's own slopes, by differences, give the normals."""
    axis = (2 * np.arange(4) + 1) / 4 - 1
    slopes = np.broadcast_to(np.array([0.4, -0.2], np.float32)[:, None, None], (2, 4, 4))
    plane = 0.4 * axis[None, :] - 0.2 * axis[:, None]
    camera = intrinsics_from_fov(64, 16, 70.0)
    estimator = full_model(tmp_path, depth=plane, normal=normals(slopes))
    beside = Crop(55.0, 8.0, 5.0, 0.3)
    depth = estimator.estimate(np.zeros((16, 64, 3), np.uint8), beside, camera)
    assert depth.normal is not None
    q, p = (difference * 2 for difference in np.gradient(depth.map))  # 0.5 crop units per pixel
    np.testing.assert_allclose(depth.normal, normals(np.stack([p, q])).transpose(1, 2, 0), atol=1e-5)
    assert abs(p.mean() - 0.4) > 0.1


def test_normals_and_confidence_that_cannot_be_are_replaced(tmp_path: Path) -> None:
    normal, confidence = normals(SLOPES), np.full((4, 4), 0.5)
    normal[0, 0, 0], confidence[1, 1], confidence[3, 3] = np.nan, np.inf, 1.5
    normal[:, 2, 2] = (0.6, 0.0, 0.8)  # looks away
    normal[:, 3, 0] = 0.0
    normal[:, 0, 3] *= 7.0
    estimator = full_model(tmp_path, normal=normal, confidence=confidence)
    for estimate in (estimator.estimate, estimator.estimate_flipped_mean):
        depth = estimate(BLACK, WHOLE)
        assert depth.confidence is not None
        assert depth.normal is not None
        for y, x in ((0, 0), (1, 1)):
            assert depth.map[y, x] == depth.mask[y, x] == depth.confidence[y, x] == 0.0
            np.testing.assert_array_equal(depth.normal[y, x], (0, 0, -1))
        assert (depth.normal[..., 2] < 0).all()
        np.testing.assert_allclose(np.linalg.norm(depth.normal, axis=-1), 1.0, atol=1e-6)
        assert depth.confidence.max() <= 1.0
    assert estimator.repaired == 2


@pytest.mark.parametrize(
    "changed",
    [{"normal": np.zeros((2, 4, 4))}, {"confidence": np.zeros((3, 4, 4))}, {"heat": np.zeros((4, 4))}],
    ids=lambda changed: next(iter(changed)),
)
def test_outputs_of_other_kinds_are_refused(tmp_path: Path, changed: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="no depth network"):
        full_model(tmp_path, **changed)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, MAX_SIDE + 1, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_unusable_images_are_refused(estimator: DepthEstimator, image: np.ndarray) -> None:
    with pytest.raises(InputError):
        estimator.estimate(image, CROP)


@pytest.mark.parametrize(
    "crop",
    [
        Crop(float("nan"), 0.0, 10.0, 0.0),
        Crop(0.0, 0.0, float("inf"), 0.0),
        Crop(0.0, 0.0, 10.0, float("nan")),
        Crop(0.0, 0.0, 0.0, 0.0),
        Crop(0.0, 0.0, -5.0, 0.0),
        Crop(0.0, 0.0, 1e12, 0.0),
        Crop(1e30, 0.0, 10.0, 0.0),
    ],
    ids=str,
)
def test_unusable_crops_are_refused(estimator: DepthEstimator, crop: Crop) -> None:
    with pytest.raises(InputError, match="Crop"):
        estimator.estimate(picture(), crop)


@pytest.mark.parametrize(
    ("image_shape", "crop"),
    [
        ((1, 1), Crop(0.0, 0.0, 0.5, 0.0)),
        ((7, 1), Crop(0.0, 3.0, 40.0, 1.0)),
        ((48, 64), Crop(-300.0, -300.0, 20.0, 0.0)),
        ((48, 64), Crop(30.0, 20.0, 30000.0, 0.5)),
        ((2, MAX_SIDE), Crop(20000.0, 0.0, 5.0, 0.0)),
    ],
    ids=str,
)
def test_odd_images_and_crops_still_give_finite_maps(
    estimator: DepthEstimator, image_shape: tuple[int, int], crop: Crop
) -> None:
    depth = estimator.estimate(picture(*image_shape), crop)
    assert np.isfinite(depth.map).all()
    assert ((depth.mask >= 0.0) & (depth.mask <= 1.0)).all()


class TestOtherModels:
    """Files that are no depth networks."""

    def changed(self, tmp_path: Path, rename: dict[str, str]) -> Path:
        proto = onnx.load_model_from_string(tiny_depth_model(SIZE))
        for value in (*proto.graph.input, *proto.graph.output):
            value.name = rename.get(value.name, value.name)
        for node in proto.graph.node:
            node.input[:] = [rename.get(name, name) for name in node.input]
            node.output[:] = [rename.get(name, name) for name in node.output]
        path = tmp_path / "changed.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    @pytest.mark.parametrize(
        "rename", [{"image": "picture"}, {"depth": "height"}, {"mask": "alpha"}], ids=str
    )
    def test_other_names(self, tmp_path: Path, rename: dict[str, str]) -> None:
        with pytest.raises(ModelError, match="no depth network"):
            DepthEstimator(model=self.changed(tmp_path, rename), threads=1)

    def test_another_shape(self, tmp_path: Path) -> None:
        flat = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 12))
        out = helper.make_tensor_value_info("depth", TensorProto.FLOAT, ("n", 12))
        (tmp_path / "m.onnx").write_bytes(
            build_model([helper.make_node("Relu", ["image"], ["depth"])], [flat], [out])
        )
        with pytest.raises(ModelError, match="no depth network"):
            DepthEstimator(model=tmp_path / "m.onnx", threads=1)

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ModelError, match="no model 'nose'"):
            DepthEstimator(model="nose")

    def test_a_backend_that_cannot_run_it(self, tiny_path: Path) -> None:
        with pytest.raises(BackendError, match="architecture"):
            DepthEstimator("torch", tiny_path)
        with pytest.raises(ConfigError, match="no inference backend"):
            DepthEstimator("abacus", tiny_path)
