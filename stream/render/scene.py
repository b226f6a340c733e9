"""Draws meshes with OpenGL, from any view, in any of five modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stream.compute.cuda.driver import Driver
from stream.errors import ConfigError, InputError
from stream.render.buffers import GrowingBuffer, GrowingTexture
from stream.render.context import MAX_SIDE, RenderContext
from stream.render.interop import SharedBuffer
from stream.render.shaders import build_program, set_uniform
from stream.render.target import Target, usual_samples
from stream.render.view import View, contain
from stream.types import Array, Mesh

MODES = ("textured", "lit", "normals", "depth", "wireframe")

SUBSET = 1024
"""Vertices looked at to find where the meshes are."""


def mesh_bounds(meshes: Sequence[Mesh]) -> tuple[Array, float] | None:
    """Centre (3,) float64 and radius of a sphere around what can be seen of the meshes, camera mm.

    Made from the 2nd to 98th percentiles of the valid vertices, so that stray ones do not move it. The
    centre lies three quarters deep, near the axis a head turns about; the radius is half the larger of
    width and height. ``None`` where no vertex is valid.
    """
    points = [mesh.vertices[mesh.valid] for mesh in meshes]
    points = [p[:: max(1, len(p) // SUBSET)] for p in points if len(p)]
    if not points:
        return None
    low, high = np.percentile(np.concatenate(points), (2, 98), axis=0)
    centre = low + (high - low) * (0.5, 0.5, 0.75)
    return centre, max(1.0, float((high - low)[:2].max()) / 2)


class _GpuMesh:
    """One mesh's buffers on the GPU, reused for whichever mesh stands at its place in the list.

    :param driver: of the meshes that come from the GPU's memory; ``None`` for those that come from the host.
    """

    def __init__(self, gl: Any, programs: dict[str, Any], driver: Driver | None) -> None:
        self.driver, self.uv = driver, GrowingBuffer(gl)
        self._stream = None if driver is None else driver.stream()

        def store() -> GrowingBuffer | SharedBuffer:
            if driver is None or self._stream is None:
                return GrowingBuffer(gl)
            return SharedBuffer(gl, driver, self._stream)

        self.vertices, self.normals, self.triangles = store(), store(), store()
        self._pixels = store()
        self.texture = GrowingTexture(gl)
        layout = [
            (self.vertices.gl_buffer, "3f", "in_position"),
            (self.normals.gl_buffer, "3f", "in_normal"),
            (self.uv.gl_buffer, "2f", "in_uv"),
        ]
        self._arrays = {
            mode: gl.vertex_array(program, layout, self.triangles.gl_buffer, skip_errors=True)
            for mode, program in programs.items()
        }
        self._indices = 0

    def write(self, mesh: Mesh) -> None:
        """Copy a mesh into the buffers."""
        _check_mesh(mesh)
        for buffer, name, dtype in (
            (self.vertices, "vertices", np.float32),
            (self.normals, "normals", np.float32),
            (self.triangles, "triangles", np.int32),
        ):
            if isinstance(buffer, SharedBuffer):
                buffer.write(getattr(mesh.device, name)[: len(getattr(mesh, name))])
            else:
                buffer.write(np.ascontiguousarray(getattr(mesh, name), dtype=dtype))
        if isinstance(self._pixels, SharedBuffer):
            self._pixels.write(mesh.device.texture)
            self.texture.write_from(self._pixels.gl_buffer, *mesh.device.texture.shape[:2])
        else:
            self.texture.write(mesh.texture)
        if self.driver is not None and self._stream is not None:
            self.driver.synchronize(self._stream)  # the mesh may give its memory back after this
        self.uv.write(np.ascontiguousarray(mesh.uv, dtype=np.float32))
        self._indices = mesh.triangles.size

    @property
    def stores(self) -> tuple[GrowingBuffer | SharedBuffer, ...]:
        """All buffers."""
        return self.vertices, self.normals, self.triangles, self.uv, self._pixels

    def release(self) -> None:
        """Free the memory; CUDA lets go of what it shares."""
        for array in self._arrays.values():
            array.release()
        for store in (*self.stores, self.texture):
            store.release()

    def draw(self, program: Any, mode: str) -> None:
        """Draw what was written last."""
        if self._indices:
            self.texture.use(program)
            self._arrays[mode].render(vertices=self._indices)


class MeshScene:
    """Everything needed to draw meshes with one context; lives as long as the context.

    :param context: an open context; all calls on its thread.
    :param samples: samples a pixel for antialiasing, 0 for none; by default what suits the driver.
    """

    def __init__(self, context: RenderContext, samples: int | None = None) -> None:
        self._gl = gl = context.gl
        self._samples = usual_samples(gl) if samples is None else min(samples, int(gl.max_samples))
        self._programs = {
            mode: build_program(
                gl, "mesh.vert", f"{mode}.frag", "wireframe.geom" if mode == "wireframe" else None
            )
            for mode in MODES
        }
        self._gradient = build_program(gl, "screen.vert", "gradient.frag")
        self._image = build_program(gl, "screen.vert", "image.frag")
        self._gradient_array = gl.vertex_array(self._gradient, [])
        self._image_array = gl.vertex_array(self._image, [])
        self._background = GrowingTexture(gl)
        self._meshes: dict[tuple[int, Driver | None], _GpuMesh] = {}
        self._shown: list[_GpuMesh] = []
        self._written: tuple[Mesh, ...] = ()
        self._target: Target | None = None

    def release(self) -> None:
        """Let CUDA go of the buffers it shares; before the context closes, on its thread."""
        for mesh in self._meshes.values():
            mesh.release()
        self._meshes, self._shown, self._written = {}, [], ()

    def draw(
        self,
        meshes: Sequence[Mesh],
        view: View,
        mode: str = "textured",
        size: tuple[int, int] = (512, 512),
        background: Array | None = None,
    ) -> None:
        """Draw the meshes, replacing the last picture.

        :param mode: one of `MODES`.
        :param size: width and height of the picture, pixels.
        :param background: (H, W, 3) uint8 RGB image laid behind, scaled to fit as `CameraView` does;
            a dark gradient otherwise.
        :raises ConfigError: the mode is unknown or the size is not within 1..8192.
        :raises InputError: a mesh's arrays do not fit each other or hold values that are not finite.
        """
        if mode not in MODES:
            raise ConfigError(f"Unknown render mode '{mode}'; use one of {', '.join(MODES)}.")
        self._write(tuple(meshes))
        target = self._target_of(size)
        target.use()
        self._draw_background(background, size)
        self._gl.enable_only(self._gl.DEPTH_TEST)
        program = self._programs[mode]
        eye, projection = view.matrices(size)
        set_uniform(program, "view", eye)
        set_uniform(program, "projection", projection)
        set_uniform(program, "picture_size", tuple(map(float, size)))
        set_uniform(program, "depth_range", _depth_range(meshes, eye) if mode == "depth" else (0.0, 1.0))
        for gpu in self._shown:
            gpu.draw(program, mode)

    def read(self) -> Array:
        """What `draw` drew last, as a new (H, W, 3) uint8 RGB array, top row first.

        :raises InputError: nothing was drawn yet.
        """
        return self._drawn().read()

    def show(self, size: tuple[int, int]) -> None:
        """Put what was drawn last on the window's whole framebuffer, ``size`` (width, height) pixels."""
        target = self._drawn()
        screen = self._gl.screen
        screen.use()
        screen.viewport = (0, 0, *size)  # moderngl never learns of a window's new size by itself
        self._gl.enable_only(self._gl.NOTHING)
        target.use_picture()
        set_uniform(self._image, "uv_scale", (1.0, 1.0))
        set_uniform(self._image, "uv_limit", (0.5 / target.size[0], 0.5 / target.size[1]))
        set_uniform(self._image, "rectangle", (-1.0, 1.0, 1.0, -1.0))  # upside down: its bottom row is first
        self._image_array.render(self._gl.TRIANGLE_STRIP, vertices=4)

    def _drawn(self) -> Target:
        if self._target is None:
            raise InputError("There is no picture yet; call draw() first.")
        return self._target

    def _target_of(self, size: tuple[int, int]) -> Target:
        if not all(1 <= side <= MAX_SIDE for side in size):
            raise ConfigError(
                f"A picture of {size[0]}x{size[1]} pixels cannot be drawn; use 1 to {MAX_SIDE}."
            )
        if self._target is None or self._target.size != tuple(size):
            if self._target is not None:
                self._target.release()
            self._target = Target(self._gl, (size[0], size[1]), self._samples)
        return self._target

    def _write(self, meshes: tuple[Mesh, ...]) -> None:
        """Upload, unless these very meshes were uploaded last: a second view of them costs no transfer."""
        if len(meshes) == len(self._written) and all(map(_same, meshes, self._written)):
            return
        self._written = ()
        self._shown = [self._store(number, mesh) for number, mesh in enumerate(meshes)]
        for gpu, mesh in zip(self._shown, meshes, strict=True):
            gpu.write(mesh)
        self._written = meshes

    def _store(self, number: int, mesh: Mesh) -> _GpuMesh:
        """Buffers for the mesh at place ``number``: from the host's memory, or from the GPU's."""
        driver = None if mesh.device is None else mesh.device.driver
        key = (number, driver)
        if key not in self._meshes:
            self._meshes[key] = _GpuMesh(self._gl, self._programs, driver)
        return self._meshes[key]

    def _draw_background(self, image: Array | None, size: tuple[int, int]) -> None:
        self._gl.enable_only(self._gl.NOTHING)
        if image is None or image.shape[:2] != (size[1], size[0]):
            set_uniform(self._gradient, "rectangle", (-1.0, -1.0, 1.0, 1.0))
            self._gradient_array.render(self._gl.TRIANGLE_STRIP, vertices=4)
        if image is not None:
            across, down = contain(image.shape[1], image.shape[0], size)
            self._background.write(image)
            self._background.use(self._image)
            set_uniform(self._image, "rectangle", (-across, -down, across, down))
            self._image_array.render(self._gl.TRIANGLE_STRIP, vertices=4)


def _same(one: Mesh, other: Mesh) -> bool:
    return one is other


def _depth_range(meshes: Sequence[Mesh], eye: Array) -> tuple[float, float]:
    """Nearest and farthest distance worth telling apart, along the eye's axis, mm."""
    bounds = mesh_bounds(meshes)
    if bounds is None:
        return 0.0, 1.0
    centre, radius = bounds
    middle = float(eye[2, :3] @ centre + eye[2, 3])
    return middle - radius * 1.2, middle + radius * 0.6


def _check_mesh(mesh: Mesh) -> None:
    """Refuse what would make the driver read outside its buffers or draw nonsense.

    :raises InputError: see `MeshScene.draw`.
    """
    count = len(mesh.vertices)
    shapes = (mesh.vertices.shape, mesh.normals.shape, mesh.uv.shape, mesh.valid.shape)
    if shapes != ((count, 3), (count, 3), (count, 2), (count,)):
        raise InputError(f"A mesh's vertices, normals, uv and valid do not fit each other: shapes {shapes}.")
    if mesh.triangles.ndim != 2 or mesh.triangles.shape[1] != 3 or mesh.triangles.dtype.kind not in "iu":
        raise InputError(
            f"A mesh's triangles must be (M, 3) integers, not {mesh.triangles.shape} {mesh.triangles.dtype}."
        )
    texture = mesh.texture
    if texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8 or not texture.size:
        raise InputError(
            f"A mesh's texture must be (T, T, 3) uint8 and not empty, not {texture.shape} {texture.dtype}."
        )
    if mesh.triangles.size and not 0 <= mesh.triangles.min() <= mesh.triangles.max() < count:
        raise InputError("A mesh's triangles name vertices that it does not have; rebuild the mesh.")
    if not (np.isfinite(mesh.vertices).all() and np.isfinite(mesh.normals).all()):
        raise InputError("A mesh holds vertices or normals that are not finite; rebuild the mesh.")
