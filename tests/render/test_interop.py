"""OpenGL buffers filled from device memory: shared where CUDA can, else copied through the host."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compute.host_driver import CountingDriver
from render.render_helpers import PLAIN, square

from stream.compute.cuda.arrays import to_device
from stream.device.pool import DeviceMesh
from stream.errors import BackendError
from stream.render.buffers import MIN_BYTES
from stream.render.context import RenderContext
from stream.render.interop import SharedBuffer
from stream.render.scene import MeshScene
from stream.render.view import CameraView


class SharingDriver(CountingDriver):
    """Shares OpenGL's buffers, on paper: a mapped one is memory that the test can look at."""

    def __init__(self) -> None:
        super().__init__()
        self.mapped = np.zeros(4 * MIN_BYTES, np.uint8)
        self.events: list[tuple[str, int]] = []

    def register_gl_buffer(self, number: int) -> int:
        self.events.append(("register", number))
        return number

    def unregister_gl_buffer(self, resource: int) -> None:
        self.events.append(("unregister", resource))

    def map_gl_buffer(self, resource: int, stream: Any) -> int:
        self.events.append(("map", resource))
        return int(self.mapped.ctypes.data)

    def unmap_gl_buffer(self, resource: int, stream: Any) -> None:
        self.events.append(("unmap", resource))


def test_without_sharing_content_arrives_through_the_host(egl: RenderContext) -> None:
    driver, rng = CountingDriver(), np.random.default_rng(0)
    buffer = SharedBuffer(egl.gl, driver, driver.stream())
    for count in (10, MIN_BYTES, 0, 77):
        values = rng.random(count).astype(np.float32)
        buffer.write(to_device(driver, values))
        content = np.frombuffer(buffer.gl_buffer.read(), np.float32)
        np.testing.assert_array_equal(content[:count], values)
    assert driver.downloads == 3
    buffer.release()


def test_a_shared_buffer_is_mapped_for_each_copy_and_registered_anew_when_it_grows(
    egl: RenderContext,
) -> None:
    driver = SharingDriver()
    buffer = SharedBuffer(egl.gl, driver, driver.stream())
    number = buffer.gl_buffer.glo
    small, large = np.arange(9, dtype=np.uint8), np.arange(2 * MIN_BYTES, dtype=np.uint8)
    buffer.write(to_device(driver, small))
    np.testing.assert_array_equal(driver.mapped[:9], small)
    buffer.write(to_device(driver, large))
    np.testing.assert_array_equal(driver.mapped[: large.size], large)
    buffer.release()
    names = [name for name, resource in driver.events if resource == number]
    assert names == ["register", "map", "unmap", "unregister", "register", "map", "unmap", "unregister"]
    assert not driver.downloads


def test_a_failed_copy_leaves_the_buffer_to_opengl(egl: RenderContext) -> None:
    class Failing(SharingDriver):
        def copy(self, target: int, origin: int, nbytes: int, stream: Any) -> None:
            raise BackendError("no")

    driver = Failing()
    buffer = SharedBuffer(egl.gl, driver, driver.stream())
    with pytest.raises(BackendError):
        buffer.write(to_device(driver, np.ones(4, np.float32)))
    assert driver.events[-1][0] == "unmap"


def test_a_mesh_in_device_memory_looks_as_the_same_from_the_host(egl: RenderContext) -> None:
    driver, mesh, view = CountingDriver(), square(tilt=0.4), CameraView(PLAIN)
    arrays = mesh.vertices, mesh.normals, mesh.triangles, mesh.texture
    vertices, normals, triangles, texture = (to_device(driver, array) for array in arrays)
    device = replace(mesh, device=DeviceMesh(vertices, normals, triangles, texture, driver, None))
    scene = MeshScene(egl)
    pictures = []
    for shown in (mesh, device, replace(mesh), replace(device)):
        scene.draw((shown,), view, "textured", (96, 96))
        pictures.append(scene.read())
    assert pictures[0].std() > 5
    # A driver may compile its shaders anew between two drawings: NVIDIA's then rounds differently.
    for picture in pictures[1:]:
        change = np.abs(picture.astype(int) - pictures[0])
        assert change.max() <= 8
        assert change.mean() < 0.02
    assert driver.downloads == 8
    scene.release()
