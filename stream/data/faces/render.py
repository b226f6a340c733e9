"""Draws the training heads with moderngl: a colour picture, and depth, normals and parts by pixel centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import moderngl
import numpy as np

from stream.data.faces.head import vertex_normals
from stream.data.faces.lighting import Lighting
from stream.data.faces.prop import Prop
from stream.geometry import camera_matrix, crop_from_image
from stream.render.context import open_context
from stream.render.shaders import shader_source
from stream.types import Array, Crop, Intrinsics

OVERSAMPLING = 1.5
"""Side of the colour picture over the labels' side; `stream.face.crop.crop_image` shrinks it."""

HEAD_FLOATS = 21
HEAD_LAYOUT = "3f 3f 4f 4f 3f 2f 2f"
HEAD_NAMES = ("position", "normal", "photo", "mirror", "tint", "cover", "uv")
PROP_LAYOUT = "3f 3f 2f"
PROP_NAMES = ("position", "normal", "uv")

BACKGROUND_PART = 255

SHADOW_SIDE = 320
SHADOW_REACH = 210.0
"""Half the width of what the shadow's picture shows, mm."""

SKY_DIRECTIONS = 48

KEPT_INDICES = 64
"""Index buffers kept on the GPU, the oldest given up first."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Display colours (3,) of iris and sclera in 0..1, and the pupil's angle in radians."""

    iris: Array
    sclera: Array
    pupil: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One posed head with everything round it, camera frame, mm.

    :ivar head: (N, HEAD_FLOATS) float32 as `HEAD_NAMES` lists: place, normal, place and weight and gain in
        the photo and of the mirrored place, display colour elsewhere, openness to the sky and part, uv.
    :ivar triangles: (M, 3) int32 of the head, the same array object for every head of one topology.
    :ivar props: what else is drawn, already posed to the camera.
    :ivar picture: (H, W, 3) uint8 RGB, the photo that the head's texture is taken from.
    :ivar tone: (3,) linear factor on the photo's colours.
    """

    head: Array
    triangles: Array
    props: Sequence[Prop]
    picture: Array
    tone: Array
    eyes: Eyes


@dataclass(frozen=True, slots=True)
class PixelLabels:
    """What lies at each pixel centre.

    :ivar normal: (S, S, 3) float32 camera frame, towards the camera.
    :ivar z: (S, S) float32 camera mm, inf where nothing is.
    :ivar part: (S, S) uint8, `BACKGROUND_PART` where nothing is.
    :ivar uv: (S, S, 2) uint8, 255 times the place in the head's texture layout, or in a prop's own picture.
    :ivar bare: (S, S) uint8, the part that would be there without any prop.
    """

    normal: Array
    z: Array
    part: Array
    uv: Array
    bare: Array


class Renderer:
    """An offscreen context for pictures of one size; use it from the thread that made it.

    :param size: side of the label images in pixels.
    :raises BackendError: there is no EGL here; the message says what to install.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = round(size * OVERSAMPLING)
        self._offscreen = open_context("egl")
        self.context: moderngl.Context = self._offscreen.gl
        with self.context:
            self.programs = {
                name: self._program(*files)
                for name, files in {
                    "head": ("train_head.vert", "train_head.frag"),
                    "prop": ("train_prop.vert", "train_prop.frag"),
                    "head_label": ("train_head.vert", "train_label.frag"),
                    "prop_label": ("train_prop.vert", "train_label.frag"),
                    "depth": ("train_prop.vert", "train_depth.frag"),
                }.items()
            }
            self.colour_target = self._target(self.side, [(4, "f1")])
            self.label_target = self._target(size, [(4, "f4"), (4, "f1")])
            self.shadow = self.context.depth_texture((SHADOW_SIDE, SHADOW_SIDE))
            self.shadow.compare_func = ""
            self.shadow.repeat_x = self.shadow.repeat_y = False
            self.shadow_target = self.context.framebuffer(depth_attachment=self.shadow)
            self.streaks = self._strand_texture()
            self.white = self.context.texture((1, 1), 3, b"\xff\xff\xff", alignment=1)
        self._indices: dict[int, tuple[Array, moderngl.Buffer]] = {}

    def close(self) -> None:
        """Free the context; the renderer cannot be used afterwards."""
        self._offscreen.close()

    def colour(self, scene: Scene, view: Array, light: Lighting, shadow_view: Array) -> tuple[Array, Array]:
        """Picture (side, side, 3) uint8 and coverage (side, side) bool.

        :param view: (4, 4) from `view_matrix`.
        :param shadow_view: (4, 4) from `shadow_matrix`: where the first light sees the scene from.
        """
        with self.context:
            self._cast_shadow(scene, shadow_view)
            self._begin(self.colour_target)
            for name in ("head", "prop"):
                self._light(self.programs[name], light, shadow_view)
            self._colour_head(scene, view, light)
            for prop in scene.props:
                self._colour_prop(prop, view)
            pixels = np.frombuffer(self.colour_target.read(components=4), np.uint8)
            pixels = pixels.reshape(self.side, self.side, 4)
            return pixels[..., :3], pixels[..., 3] > 0

    def labels(self, scene: Scene, view: Array) -> PixelLabels:
        """What `colour` would show, by pixel centre at size S."""
        with self.context:
            self._begin(self.label_target)
            program = self.programs["head_label"]
            program["prop"] = -1.0
            self._draw(program, scene.head, scene.triangles, HEAD_LAYOUT, HEAD_NAMES, view)
            bare = self._read_parts() if scene.props else None
            program = self.programs["prop_label"]
            for prop in scene.props:
                program["prop"] = float(prop.part)
                self._draw(program, _interleaved(prop), prop.triangles, PROP_LAYOUT, PROP_NAMES, view)
            return self._read_labels(bare)

    def openness(self, vertices: Array, triangles: Array) -> Array:
        """Share (N,) float32 of the sky, weighted by the cosine, that each vertex (N, 3) mm sees."""
        normals = vertex_normals(np.ascontiguousarray(vertices, np.float32), triangles)
        directions = _sphere(SKY_DIRECTIONS)
        seen, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
        blank = np.zeros((len(vertices), 8), np.float32)
        blank[:, :3] = vertices
        for direction in directions:
            matrix = shadow_matrix(direction, vertices.mean(axis=0))
            with self.context:
                self._begin(self.shadow_target)
                self._draw(self.programs["depth"], blank, triangles, PROP_LAYOUT, PROP_NAMES, matrix)
                depth = np.frombuffer(self.shadow.read(), np.float32).reshape(SHADOW_SIDE, SHADOW_SIDE)
            place = (vertices + normals * 1.5) @ matrix[:3, :3].T + matrix[:3, 3]
            cell = np.clip(((place[:, :2] * 0.5 + 0.5) * SHADOW_SIDE).astype(int), 0, SHADOW_SIDE - 1)
            cosine = np.maximum(normals @ direction, 0)
            seen += cosine * (place[:, 2] * 0.5 + 0.5 - 0.004 <= depth[cell[:, 1], cell[:, 0]])
            total += cosine
        return (seen / total).astype(np.float32)

    def _cast_shadow(self, scene: Scene, shadow_view: Array) -> None:
        self._begin(self.shadow_target)
        program = self.programs["depth"]
        self._draw(program, scene.head, scene.triangles, HEAD_LAYOUT, HEAD_NAMES, shadow_view)
        for prop in scene.props:
            self._draw(program, _interleaved(prop), prop.triangles, PROP_LAYOUT, PROP_NAMES, shadow_view)

    def _colour_head(self, scene: Scene, view: Array, light: Lighting) -> None:
        program = self.programs["head"]
        picture = self._texture(scene.picture)
        picture.use(0)
        program["picture"], program["own_light"] = 0, light.own
        program["tone"] = tuple(scene.tone)
        program["iris"], program["sclera"] = tuple(scene.eyes.iris), tuple(scene.eyes.sclera)
        program["pupil"] = scene.eyes.pupil
        self._draw(program, scene.head, scene.triangles, HEAD_LAYOUT, HEAD_NAMES, view)
        picture.release()

    def _colour_prop(self, prop: Prop, view: Array) -> None:
        program = self.programs["prop"]
        picture = self.white if prop.picture is None else self._texture(prop.picture)
        picture.use(0)
        self.streaks.use(2)
        program["picture"], program["streaks"] = 0, 2
        program["tint"], program["contrast"] = tuple(prop.colour), prop.strands
        program["stretch"], program["gloss"] = prop.stretch, prop.gloss
        self._draw(program, _interleaved(prop), prop.triangles, PROP_LAYOUT, PROP_NAMES, view)
        if prop.picture is not None:
            picture.release()

    def _read_labels(self, bare: Array | None) -> PixelLabels:
        side = self.size
        geometry = np.frombuffer(self.label_target.read(components=4, dtype="f4"), np.float32)
        geometry = geometry.reshape(side, side, 4)
        parts = self._read_parts()
        found = _found(parts)
        z = np.where(found == BACKGROUND_PART, np.float32(np.inf), geometry[..., 3])
        return PixelLabels(
            geometry[..., :3], z, found, parts[..., 1:3], found if bare is None else _found(bare)
        )

    def _read_parts(self) -> Array:
        """(S, S, 4) uint8 of what has been drawn so far: part, uv, and 0 where nothing was."""
        parts = np.frombuffer(self.label_target.read(components=4, attachment=1), np.uint8)
        return parts.reshape(self.size, self.size, 4)

    def _program(self, vertex: str, fragment: str) -> moderngl.Program:
        source = shader_source(fragment)
        source = source.replace("//include train_light.glsl", shader_source("train_light.glsl"))
        return self.context.program(vertex_shader=shader_source(vertex), fragment_shader=source)

    def _target(self, side: int, kinds: list[tuple[int, str]]) -> moderngl.Framebuffer:
        textures = [self.context.texture((side, side), n, dtype=kind) for n, kind in kinds]
        return self.context.framebuffer(textures, self.context.depth_renderbuffer((side, side)))

    def _begin(self, target: moderngl.Framebuffer) -> None:
        target.use()
        target.clear(0.0, 0.0, 0.0, 0.0)
        self.context.enable_only(moderngl.DEPTH_TEST)

    def _light(self, program: moderngl.Program, light: Lighting, shadow_view: Array) -> None:
        self.shadow.use(1)
        program["shadow"], program["softness"] = 1, light.softness
        program["exposure"] = light.exposure
        _set(program, "harmonics", light.harmonics)
        _set(program, "light", light.lights)
        _set(program, "light_colour", light.colours)
        _set(program, "shadow_view", shadow_view.T)

    def _texture(self, picture: Array) -> moderngl.Texture:
        height, width = picture.shape[:2]
        texture = self.context.texture(
            (width, height), 3, np.ascontiguousarray(picture).tobytes(), alignment=1
        )
        texture.build_mipmaps()
        return texture

    def _draw(
        self,
        program: moderngl.Program,
        vertices: Array,
        triangles: Array,
        layout: str,
        names: tuple[str, ...],
        view: Array,
    ) -> None:
        _set(program, "view", view.T)
        buffer = self.context.buffer(np.ascontiguousarray(vertices, np.float32).tobytes())
        indices = self._index_buffer(triangles)
        array = self.context.vertex_array(program, [(buffer, layout, *names)], indices, skip_errors=True)
        array.render()
        array.release()
        buffer.release()

    def _index_buffer(self, triangles: Array) -> moderngl.Buffer:
        """On the GPU, kept for as long as the very array is: topologies and hair styles come again."""
        known = self._indices.get(id(triangles))
        if known is not None and known[0] is triangles:
            return known[1]
        if len(self._indices) >= KEPT_INDICES:
            self._indices.pop(next(iter(self._indices)))[1].release()
        buffer = self.context.buffer(np.ascontiguousarray(triangles, np.int32).tobytes())
        self._indices[id(triangles)] = (triangles, buffer)
        return buffer

    def _strand_texture(self) -> moderngl.Texture:
        """Fine streaks along v, the same in every process."""
        rng = np.random.default_rng(7)
        fine = rng.random((1, 512)) + 0.25 * rng.random((64, 512))
        streaks = fine / fine.max()
        texture = self.context.texture((512, 64), 1, (streaks * 255).astype(np.uint8).tobytes(), alignment=1)
        texture.build_mipmaps()
        return texture


def _found(parts: Array) -> Array:
    return np.where(parts[..., 3] == 0, BACKGROUND_PART, parts[..., 0]).astype(np.uint8)


def _interleaved(prop: Prop) -> Array:
    return np.concatenate([prop.vertices, prop.normals, prop.uv], axis=1, dtype=np.float32)


def _set(program: moderngl.Program, name: str, values: Array) -> None:
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform)
    uniform.write(np.ascontiguousarray(values, np.float32).tobytes())


def view_matrix(crop: Crop, intrinsics: Intrinsics, near: float, far: float) -> Array:
    """(4, 4) that takes camera mm to clip space of ``crop``, the picture's top row first in memory."""
    to_crop = np.vstack([crop_from_image(crop, 2), [0, 0, 1]])
    # Pixel p of a crop of size 2 lies at crop coordinate p - 0.5.
    to_unit = np.array([[1.0, 0, -0.5], [0, 1.0, -0.5], [0, 0, 1.0]])
    flat = to_unit @ to_crop @ camera_matrix(intrinsics)
    view = np.zeros((4, 4))
    view[0, :3], view[1, :3], view[3, :3] = flat
    view[2, 2], view[2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
    return view


def shadow_matrix(towards: Array, centre: Array) -> Array:
    """(4, 4) that takes mm to the clip space of a light that lies ``towards`` (3,), over `SHADOW_REACH`."""
    forward = -towards / np.linalg.norm(towards)
    aside = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0], forward)
    aside /= np.linalg.norm(aside)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([aside, np.cross(forward, aside), forward]) / SHADOW_REACH
    matrix[2, :3] *= 0.7  # what stands before or behind is seen further out
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    return matrix


def _sphere(count: int) -> Array:
    """(count, 3) directions spread evenly (Fibonacci's lattice)."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    around = np.sqrt(1 - height**2)
    return np.column_stack([around * np.cos(angle), height, around * np.sin(angle)])
