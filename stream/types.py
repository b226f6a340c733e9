"""What flows through Prosopon: a `Capture`, which holds one `Person` for each face of its `Frame`.

Each is immutable: a stage makes a new object instead of changing the one it got, so that objects can
pass between threads without locks. The arrays inside are treated as read-only once published.

Frames of reference, used by name everywhere:

* **image**: pixels of the source image; the origin is the CENTRE of the top-left pixel, x right, y down.
* **crop**: a square around a face, x and y in [-1, 1] from edge to edge (x right, y down in the
  upright face); one crop unit is half the crop's width, at the face's distance.
* **camera**: OpenCV's, x right, y down, z forward; millimetres.
* **head**: rigid with the head; millimetres; origin midway between the eye centres; the axes agree with
  the camera's for a face that looks straight into it.
* **glTF**: y up, z towards the viewer, metres; at export only (`stream.geometry.camera_to_gltf`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera in image pixels (no distortion, no skew)."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a source.

    :ivar image: (H, W, 3) uint8 RGB, C-contiguous.
    :ivar captured: when the picture was taken, seconds on `time.monotonic`'s clock.
    :ivar index: counts the source's frames from 0, dropped ones included.
    :ivar source: the source's name, for messages and metrics.
    :ivar device: the same picture in the GPU's memory (`stream.compute.nv12.PitchedNv12`), where the source
        decoded it there.
    :ivar fresh: the picture was not given before; False where a source repeats one, or has none of that time
        and gives grey.
    """

    image: Array
    captured: float
    index: int
    source: str
    device: Any = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Crop:
    """A square in the image, turned with the face; its inverse is exact (`stream.face.crop`).

    :ivar x, y: centre, image pixels.
    :ivar half: half the side, image pixels.
    :ivar angle: radians by which the crop's x axis is turned from the image's, positive clockwise as seen.
    """

    x: float
    y: float
    half: float
    angle: float


@dataclass(frozen=True, slots=True)
class Face:
    """One tracked face in one frame.

    :ivar track_id: stays the same while the face is followed.
    :ivar landmarks: (478, 3) float32, MediaPipe's order; x, y in image pixels, z in the same scale
        (smaller is nearer, relative to the head's centre).
    :ivar pose: (4, 4) float32, head to camera, millimetres; ``pose[2, 3]`` is the distance of the eye
        centres' midpoint along the optical axis.
    :ivar crop: the square handed to the networks.
    :ivar intrinsics: the camera the pose was solved for.
    """

    track_id: int
    landmarks: Array
    pose: Array
    crop: Crop
    intrinsics: Intrinsics


@dataclass(frozen=True, slots=True)
class Depth:
    """A depth map over a face's crop.

    :ivar map: (S, S) float32 crop units, positive away from the camera, 0 at the plane through the eye
        centres' midpoint parallel to the image; finite everywhere, meaningful where the mask is.
    :ivar mask: (S, S) float32 in 0..1, probability of head (face, hair, neck, glasses) against background
        and whatever is held before it.
    :ivar confidence: (S, S) float32 in 0..1, how sure the network is of ``map`` (1: sure); ``None`` where
        the network does not say.
    :ivar normal: (S, S, 3) float32 unit normals of the surface ``map`` describes, as a height field over
        the crop: x right, y down, z away from the camera, z < 0; ``None`` where the network gives none.
    """

    map: Array
    mask: Array
    confidence: Array | None = None
    normal: Array | None = None


@dataclass(frozen=True, slots=True)
class Surface:
    """What of a depth map is shown and sent: clean at its outline, cut where it jumps, without holes.

    Where it lies, its face says (crop, camera and pose). `stream.mesh.build.surface_of` makes it of a
    `Depth`; a mesh is made of it alone, here or at the other end of a wire.

    :ivar depth: (S, S) float32 crop units, as `Depth.map`; finite wherever ``alpha`` is not 0.
    :ivar alpha: (S, S) float32 in 0..1, 0 where there is no surface.
    :ivar jump: crop units between neighbouring pixels from which on they are not connected, where whoever
        sent the surface says so; ``None``: `stream.mesh.build.connect_jump`.
    """

    depth: Array
    alpha: Array
    jump: float | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """What a face does, apart from whose it is.

    :ivar coefficients: (52,) float32 in 0..1, ARKit's, in the order of `stream.expression.arkit.ARKIT_NAMES`.
    """

    coefficients: Array


@dataclass(frozen=True, slots=True)
class Mesh:
    """A textured triangle mesh of one face, camera frame, millimetres.

    :ivar vertices: (N, 3) float32; invalid ones are finite but unused.
    :ivar normals: (N, 3) float32 unit vectors that point out of the face (towards the camera: z < 0).
    :ivar uv: (N, 2) float32 in 0..1, origin at the texture's top-left corner.
    :ivar triangles: (M, 3) int32, only valid ones, counter-clockwise seen from the camera side.
    :ivar valid: (N,) bool.
    :ivar texture: (T, T, 3) uint8 RGB.
    :ivar device: the same in the GPU's memory (`stream.device.pool.DeviceMesh`), for renderers there;
        ``None`` where it is on the host only.
    """

    vertices: Array
    normals: Array
    uv: Array
    triangles: Array
    valid: Array
    texture: Array
    device: Any = None


@dataclass(frozen=True, slots=True)
class Person:
    """All that is known of one face in one frame; each node of the pipeline adds its field.

    A field is None where it was not worked out: nobody wanted it, or the node that gives it failed.
    What is to be remembered of a person beyond the frame stays in `stream.memory.TrackMemory`.

    :ivar surface: the part of ``depth`` that is shown and sent.
    """

    face: Face
    depth: Depth | None = None
    surface: Surface | None = None
    mesh: Mesh | None = None
    expression: Expression | None = None

    @property
    def track_id(self) -> int:
        """Stays the same while the person is followed."""
        return self.face.track_id


FIELDS = tuple(field.name for field in fields(Person))
"""What can be known of a person, by name."""


@dataclass(frozen=True, slots=True)
class Capture:
    """All that is known of one frame; stages add to it with `dataclasses.replace`.

    :ivar people: one for each face, the largest first.
    :ivar known: which fields of people were worked out in this frame, by `FIELDS`: no people, where ``face``
        is known, means that there is no face; where it is not, that nobody looked.
    :ivar steps: seconds each stage took, by the stage's name.
    :ivar picture: (H, W, 3) uint8 RGB, what a render stage drew, if one ran.
    """

    frame: Frame
    people: tuple[Person, ...] = ()
    known: frozenset[str] = frozenset()
    steps: Mapping[str, float] = field(default_factory=dict)
    picture: Array | None = None

    @property
    def meshes(self) -> tuple[Mesh, ...]:
        """The meshes of those people who have one, in their order."""
        return tuple(person.mesh for person in self.people if person.mesh is not None)

    def adding(self, names: str | tuple[str, ...], people: Iterable[Person]) -> Capture:
        """The capture with these people, of whom the fields ``names`` (of `FIELDS`) are known now."""
        new = {names} if isinstance(names, str) else set(names)
        return replace(self, people=tuple(people), known=self.known | new)
