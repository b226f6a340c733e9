"""Frames that stay on the device, with the kernels as host C++ and a network made of their memory."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import HostDriver
from device.device_network import CAMERA, SIZE, Network, capture_of, face_at, look, maps_of
from people import depths_of, filled
from skimage import data

from stream.compute.crop_normalize import crop_normalize
from stream.compute.depth_to_mesh import depth_to_mesh
from stream.depth.sight import line_of_sight, sight_tilt
from stream.device.frame import STEPS, WARM_UPS
from stream.device.pool import SLOTS, MeshPool
from stream.device.stage import DeviceStage
from stream.errors import BackendError, InputError
from stream.geometry import image_from_crop, mm_per_crop_unit
from stream.mesh.build import connect_jump, surface_of
from stream.types import Depth


def open_stage(driver: HostDriver, **options: Any) -> DeviceStage:
    stage = DeviceStage(lambda: Network(driver), **{"faces": 2, **options})
    stage.open()
    return stage


def test_meshes_are_those_of_the_cpu(driver: HostDriver) -> None:
    image, faces = data.astronaut(), (face_at(220, 110, 4), face_at(300, 200, 7))
    stage = open_stage(driver, smooth=False)
    result = stage(capture_of(image, 0, *faces))
    stage.close()
    for face, depth, mesh in zip(faces, depths_of(result), result.meshes, strict=True):
        matrix = image_from_crop(face.crop, SIZE)
        along, mask = maps_of(crop_normalize([image], [0], matrix[None], SIZE, compute="numba"))
        level = along[0, 0] - sight_tilt(line_of_sight(face.crop, CAMERA), SIZE)
        unit = mm_per_crop_unit(face.crop, CAMERA, 600)
        camera = (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy)
        surface, jump = surface_of(Depth(level, mask[0, 0])), connect_jump(SIZE)
        maps = surface.depth, surface.alpha
        expected = depth_to_mesh(*maps, matrix, *camera, 600, unit, depth_jump=jump, compute="numba")
        np.testing.assert_allclose(depth.map, level, atol=1e-5)
        np.testing.assert_array_equal(mesh.valid, expected.valid)
        np.testing.assert_array_equal(mesh.triangles, expected.triangles)
        np.testing.assert_allclose(mesh.vertices[mesh.valid], expected.vertices[mesh.valid], atol=2e-3)
        np.testing.assert_allclose(mesh.uv, expected.uv, atol=1e-6)
        assert mesh.texture.shape == (256, 256, 3)


def test_replayed_graphs_follow_every_change(driver: HostDriver) -> None:
    """Pictures, crops, poses and sizes change; the meshes are those of single launches."""
    rng, images = np.random.default_rng(1), [data.astronaut(), data.astronaut()[:400, :480]]
    captures = []
    for number in range(12):
        image = np.roll(images[number // 8], number, axis=1)
        faces = [
            face_at(rng.uniform(150, 300), rng.uniform(150, 300), track)
            for track in range(2 if 3 < number < 9 else 1)
        ]
        faces[0].pose[2, 3] += 10 * number
        captures.append(capture_of(image, number, *faces))
    replaying, singly = open_stage(driver), open_stage(driver, graphs=False)
    for capture in captures:
        one, other = replaying(capture), singly(capture)
        assert len(one.meshes) == len(capture.people)
        for a, b in zip(one.meshes, other.meshes, strict=True):
            np.testing.assert_array_equal(a.vertices, b.vertices)
            np.testing.assert_array_equal(a.triangles, b.triangles)
    assert replaying.frame is not None
    assert singly.frame is not None
    # One kind of frame is one face or two in pictures of one size; the first two of each are not replayed.
    kinds = [4, 4, 1, 3]  # the stage's own first frame is of another size
    assert replaying.frame.replayed == sum(max(0, frames - WARM_UPS) for frames in kinds)
    assert singly.frame.replayed == 0
    assert set(singly.frame.milliseconds) == set(STEPS)


def test_a_still_face_calms_down_and_a_new_one_starts_afresh(driver: HostDriver) -> None:
    rng, image = np.random.default_rng(3), data.astronaut().astype(np.float64)
    stage, raw = open_stage(driver), open_stage(driver, smooth=False)
    spread, rough = [], []
    for number in range(40):
        noisy = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        capture = capture_of(noisy, number)
        spread.append(depths_of(stage(capture))[0].map)
        rough.append(depths_of(raw(capture))[0].map)
    inside = depths_of(stage(capture_of(noisy, 40)))[0].mask > 0.5
    assert np.std(spread[20:], axis=0)[inside].mean() < 0.5 * np.std(rough[20:], axis=0)[inside].mean()
    other = capture_of(np.roll(noisy, 60, axis=0), 41, face_at(220, 110, track=9))
    np.testing.assert_array_equal(depths_of(stage(other))[0].map, depths_of(raw(other))[0].map)


def test_no_face_gives_no_mesh_and_forgets_nobody(driver: HostDriver) -> None:
    stage = open_stage(driver)
    empty_handed = stage(replace(capture_of(data.astronaut(), 0), people=()))
    assert empty_handed.people == ()
    assert len(stage(capture_of(data.astronaut(), 1)).meshes) == 1


def test_more_faces_than_it_was_made_for_are_left_out(driver: HostDriver) -> None:
    result = open_stage(driver, faces=1)(
        capture_of(data.astronaut(), 0, face_at(200, 100), face_at(300, 200, 1))
    )
    assert len(result.people) == 2
    assert filled(result) == [{"face", "depth", "surface", "mesh"}, {"face"}]


def test_bad_frames_are_refused_and_the_next_one_is_made(driver: HostDriver) -> None:
    stage, good = open_stage(driver), capture_of(data.astronaut(), 1)
    behind = face_at(220, 110)
    behind.pose[2, 3] = -5
    for bad in (
        capture_of(data.astronaut().astype(np.float32), 0),
        capture_of(np.zeros((0, 4, 3), np.uint8), 0),
        capture_of(data.astronaut(), 0, behind),
    ):
        with pytest.raises(InputError):
            stage(bad)
    assert len(stage(good).meshes) == 1
    assert stage.frame is not None
    with pytest.raises(InputError, match="begin"):
        stage.frame.finish()


def test_a_network_without_device_memory_is_named(driver: HostDriver) -> None:
    class OnTheHost:
        backend = "openvino"

    with pytest.raises(BackendError, match=r"openvino .* --inference tensorrt"):
        DeviceStage(OnTheHost).open()


def test_closing_gives_the_network_back(driver: HostDriver) -> None:
    network = Network(driver)
    stage = DeviceStage(lambda: network)
    stage.open()
    stage.close()
    assert network.closed
    with pytest.raises(InputError, match="not open"):
        stage(capture_of(data.astronaut(), 0))


def test_meshes_stay_on_the_device_while_somebody_holds_them(driver: HostDriver) -> None:
    stage, image = open_stage(driver, faces=1), data.astronaut()
    held = [stage(capture_of(np.roll(image, 5 * n, axis=1), n)) for n in range(SLOTS + 2)]
    for capture in held[:SLOTS]:
        (mesh,) = capture.meshes
        np.testing.assert_array_equal(look(mesh.device.vertices), mesh.vertices)
        np.testing.assert_array_equal(look(mesh.device.triangles)[: len(mesh.triangles)], mesh.triangles)
        texture = look(mesh.device.texture).astype(float)
        assert np.abs(texture - mesh.texture).mean() < 0.6
    assert [capture.meshes[0].device for capture in held[SLOTS:]] == [None, None]
    addresses = {capture.meshes[0].device.vertices.pointer for capture in held[:SLOTS]}
    assert len(addresses) == SLOTS
    del held, capture, mesh
    again = stage(capture_of(image, 99))
    assert again.meshes[0].device.vertices.pointer in addresses


def test_a_failure_under_way_costs_one_frame_only(
    driver: HostDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, capture = open_stage(driver), capture_of(data.astronaut(), 1)
    with monkeypatch.context() as broken:
        broken.setattr(MeshPool, "keep", lambda *_: (_ for _ in ()).throw(BackendError("no memory")))
        with pytest.raises(BackendError, match="no memory"):
            stage(capture)
    assert len(stage(capture).meshes) == 1


def test_what_cannot_run_is_known_when_it_is_opened(driver: HostDriver) -> None:
    class Broken(Network):
        def run_device(self, inputs: object, stream: object) -> dict[str, Any]:
            raise BackendError("This PyTorch has no CUDA.")

    network = Broken(driver)
    stage = DeviceStage(lambda: network)
    with pytest.raises(BackendError, match="no CUDA"):
        stage.open()
    stage.close()
    assert network.closed
