"""Draws the training heads with moderngl: a colour picture, and depth, normals and parts by pixel centre."""

from __future__ import annotations

from dataclasses import dataclass

import moderngl
import numpy as np

from stream.geometry import camera_matrix, crop_from_image
from stream.render.context import open_context
from stream.types import Array, Crop, Intrinsics

OVERSAMPLING = 2
"""Side of the colour picture over the labels' side; `stream.face.crop.crop_image` shrinks it."""

HEAD_FLOATS = 17
HEAD_LAYOUT = "3f 3f 3f 4f 3f 1f"
HEAD_NAMES = ("position", "normal", "photo", "mirror", "tint", "part")
HAIR_LAYOUT = "3f 3f 2f"
HAIR_NAMES = ("position", "normal", "uv")

HAIR_RELIGHT = 0.5
"""Hair has no photo's light in its colour, so it is always lit at least this much."""

HAIR_PART = 7
BACKGROUND_PART = 255

VERTEX = """
#version 330
uniform mat4 view;
in vec3 position; in vec3 normal; in vec3 photo; in vec4 mirror; in vec3 tint; in float part;
out vec3 at; out vec3 facing; out vec3 v_photo; out vec4 v_mirror; out vec3 v_tint; flat out float v_part;
void main() {
    at = position; facing = normal; v_photo = photo; v_mirror = mirror; v_tint = tint; v_part = part;
    gl_Position = view * vec4(position, 1.0);
}
"""

SHADE = """
uniform vec3 light[2]; uniform vec3 light_colour[2]; uniform vec3 ambient; uniform float relight;
vec3 shade(vec3 colour, vec3 n, vec3 at, float gloss) {
    vec3 sum = ambient;
    float shine = 0.0;
    for (int i = 0; i < 2; i++) {
        sum += light_colour[i] * max(dot(n, light[i]), 0.0);
        vec3 halfway = normalize(light[i] - normalize(at));
        shine += gloss * pow(max(dot(n, halfway), 0.0), 24.0) * light_colour[i].g;
    }
    return mix(colour, colour * sum + shine, relight);
}
"""

COLOUR_FRAGMENT = f"""
#version 330
uniform sampler2D picture; uniform vec3 iris; uniform float pupil; uniform vec3 sclera;
in vec3 at; in vec3 facing; in vec3 v_photo; in vec4 v_mirror; in vec3 v_tint; flat in float v_part;
out vec4 colour;
{SHADE}
void main() {{
    vec3 n = normalize(facing);
    vec3 base = v_tint;
    float gloss = 0.06;
    if (abs(v_part - 6.0) < 0.5) {{
        vec3 d = normalize(v_mirror.xyz);
        float angle = acos(clamp(-d.z, -1.0, 1.0));
        float spokes = 0.85 + 0.15 * sin(17.0 * atan(d.y, d.x));
        vec3 ring = iris * spokes * (1.0 - 0.5 * smoothstep(0.30, 0.40, angle));
        base = mix(mix(vec3(0.02), ring, smoothstep(pupil, pupil + 0.04, angle)), sclera * v_tint,
                   smoothstep(0.39, 0.45, angle));
        gloss = 0.5;
    }} else {{
        vec3 other = mix(base, texture(picture, v_mirror.xy).rgb, v_mirror.z);
        base = mix(other, texture(picture, v_photo.xy).rgb, v_photo.z);
    }}
    colour = vec4(shade(base, n, at, gloss), 1.0);
}}
"""

LABEL_FRAGMENT = """
#version 330
in vec3 at; in vec3 facing; flat in float v_part;
layout(location = 0) out vec4 geometry; layout(location = 1) out vec4 part;
void main() {
    geometry = vec4(normalize(facing), at.z);
    part = vec4(v_part / 255.0, 0.0, 0.0, 1.0);
}
"""

HAIR_VERTEX = """
#version 330
uniform mat4 view;
in vec3 position; in vec3 normal; in vec2 uv;
out vec3 at; out vec3 facing; out vec2 v_uv;
void main() { at = position; facing = normal; v_uv = uv; gl_Position = view * vec4(position, 1.0); }
"""

HAIR_FRAGMENT = f"""
#version 330
uniform sampler2D strands; uniform vec3 tint; uniform float contrast; uniform vec2 stretch;
in vec3 at; in vec3 facing; in vec2 v_uv;
out vec4 colour;
{SHADE}
void main() {{
    vec3 n = normalize(facing);
    n = dot(n, at) > 0.0 ? -n : n;
    float strand = texture(strands, v_uv * stretch).r;
    vec3 base = tint * (1.0 + contrast * (strand - 0.5));
    colour = vec4(shade(base, n, at, 0.15), 1.0);
}}
"""

HAIR_LABEL_FRAGMENT = f"""
#version 330
in vec3 at; in vec3 facing; in vec2 v_uv;
layout(location = 0) out vec4 geometry; layout(location = 1) out vec4 part;
void main() {{
    vec3 n = normalize(facing);
    geometry = vec4(dot(n, at) > 0.0 ? -n : n, at.z);
    part = vec4({HAIR_PART}.0 / 255.0, 0.0, 0.0, 1.0);
}}
"""


@dataclass(frozen=True, slots=True)
class Lighting:
    """Two directional lights and ambient light; directions (2, 3) point to the lights, camera frame.

    :ivar strength: 0 keeps the surface's colours as they are, 1 lights them fully.
    """

    directions: Array
    colours: Array
    ambient: Array
    strength: float


@dataclass(frozen=True, slots=True)
class Eyes:
    """Colours (3,) of iris and sclera in 0..1, and the pupil's angle in radians."""

    iris: Array
    sclera: Array
    pupil: float


@dataclass(frozen=True, slots=True)
class HairLook:
    """One posed hair mesh: interleaved vertices (N, 8) float32, triangles (M, 3), and its colours."""

    vertices: Array
    triangles: Array
    tint: Array
    contrast: float
    stretch: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Labels:
    """What lies at each pixel centre: normal (S, S, 3), z (S, S) camera mm, part (S, S) uint8."""

    normal: Array
    z: Array
    part: Array


class Renderer:
    """An offscreen context for pictures of one size; use it from the thread that made it.

    :param size: side of the label images in pixels.
    :param triangles: (M, 3) int32 of the head model.
    :raises BackendError: there is no EGL here; the message says what to install.
    """

    def __init__(self, size: int, triangles: Array) -> None:
        self._offscreen = open_context("egl")
        self.context: moderngl.Context = self._offscreen.gl
        self.size = size
        self.programs = {
            "colour": self.context.program(VERTEX, COLOUR_FRAGMENT),
            "label": self.context.program(VERTEX, LABEL_FRAGMENT),
            "hair": self.context.program(HAIR_VERTEX, HAIR_FRAGMENT),
            "hair_label": self.context.program(HAIR_VERTEX, HAIR_LABEL_FRAGMENT),
        }
        self.indices = self.context.buffer(np.ascontiguousarray(triangles, np.int32).tobytes())
        self.colour_target = self._target(size * OVERSAMPLING, [("f1", 4)])
        self.label_target = self._target(size, [("f4", 4), ("f1", 4)])
        self.strands = self._strand_texture()

    def close(self) -> None:
        """Free the context."""
        self._offscreen.close()

    def colour(
        self, head: Array, hair: HairLook | None, photo: Array, view: Array, light: Lighting, eyes: Eyes
    ) -> tuple[Array, Array]:
        """Picture (2 S, 2 S, 3) uint8 and coverage (2 S, 2 S) bool.

        :param head: (N, HEAD_FLOATS) float32 as `HEAD_NAMES` lists.
        :param photo: (H, W, 3) uint8 RGB, the texture.
        :param view: (4, 4) from `view_matrix`.
        """
        with self.context:
            return self._colour(head, hair, photo, view, light, eyes)

    def _colour(
        self, head: Array, hair: HairLook | None, photo: Array, view: Array, light: Lighting, eyes: Eyes
    ) -> tuple[Array, Array]:
        self._begin(self.colour_target)
        texture = self.context.texture((photo.shape[1], photo.shape[0]), 3, photo.tobytes(), alignment=1)
        texture.build_mipmaps()
        program = self.programs["colour"]
        self._light(program, light)
        program["iris"], program["sclera"] = tuple(eyes.iris), tuple(eyes.sclera)
        program["pupil"], program["picture"] = eyes.pupil, 0
        texture.use(0)
        self._draw_head(program, head, view)
        if hair is not None:
            program = self.programs["hair"]
            self._light(program, light)
            program["tint"], program["contrast"] = tuple(hair.tint), hair.contrast
            program["stretch"], program["strands"] = hair.stretch, 1
            program["relight"] = max(light.strength, HAIR_RELIGHT)
            self.strands.use(1)
            self._draw_hair(program, hair, view)
        texture.release()
        side = self.size * OVERSAMPLING
        pixels = np.frombuffer(self.colour_target.read(components=4), np.uint8).reshape(side, side, 4)
        return pixels[..., :3], pixels[..., 3] > 0

    def labels(self, head: Array, hair: HairLook | None, view: Array) -> Labels:
        """What `colour` would show, by pixel centre at size S; z is inf where nothing is."""
        with self.context:
            return self._labels(head, hair, view)

    def _labels(self, head: Array, hair: HairLook | None, view: Array) -> Labels:
        self._begin(self.label_target)
        self._draw_head(self.programs["label"], head, view)
        if hair is not None:
            self._draw_hair(self.programs["hair_label"], hair, view)
        side = self.size
        geometry = np.frombuffer(self.label_target.read(components=4, dtype="f4"), np.float32)
        geometry = geometry.reshape(side, side, 4)
        part = np.frombuffer(self.label_target.read(components=4, attachment=1), np.uint8)
        part = part.reshape(side, side, 4)
        empty = part[..., 3] == 0
        z = np.where(empty, np.float32(np.inf), geometry[..., 3])
        return Labels(geometry[..., :3], z, np.where(empty, BACKGROUND_PART, part[..., 0]).astype(np.uint8))

    def _target(self, side: int, kinds: list[tuple[str, int]]) -> moderngl.Framebuffer:
        textures = [self.context.texture((side, side), n, dtype=kind) for kind, n in kinds]
        return self.context.framebuffer(textures, self.context.depth_renderbuffer((side, side)))

    def _begin(self, target: moderngl.Framebuffer) -> None:
        target.use()
        target.clear(0.0, 0.0, 0.0, 0.0)
        self.context.enable_only(moderngl.DEPTH_TEST)

    def _light(self, program: moderngl.Program, light: Lighting) -> None:
        _set(program, "light", light.directions)
        _set(program, "light_colour", light.colours)
        program["ambient"], program["relight"] = tuple(light.ambient), light.strength

    def _draw_head(self, program: moderngl.Program, head: Array, view: Array) -> None:
        self._draw(program, head, self.indices, HEAD_LAYOUT, HEAD_NAMES, view)

    def _draw_hair(self, program: moderngl.Program, hair: HairLook, view: Array) -> None:
        indices = self.context.buffer(np.ascontiguousarray(hair.triangles, np.int32).tobytes())
        self._draw(program, hair.vertices, indices, HAIR_LAYOUT, HAIR_NAMES, view)
        indices.release()

    def _draw(
        self,
        program: moderngl.Program,
        vertices: Array,
        indices: moderngl.Buffer,
        layout: str,
        names: tuple[str, ...],
        view: Array,
    ) -> None:
        _set(program, "view", view.T)
        buffer = self.context.buffer(np.ascontiguousarray(vertices, np.float32).tobytes())
        array = self.context.vertex_array(program, [(buffer, layout, *names)], indices, skip_errors=True)
        array.render()
        array.release()
        buffer.release()

    def _strand_texture(self) -> moderngl.Texture:
        """Fine streaks along v, the same in every process."""
        rng = np.random.default_rng(7)
        fine = rng.random((1, 512)) + 0.25 * rng.random((64, 512))
        streaks = fine / fine.max()
        texture = self.context.texture((512, 64), 1, (streaks * 255).astype(np.uint8).tobytes(), alignment=1)
        texture.build_mipmaps()
        return texture


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
