"""What is drawn with a head besides the head itself: hair, beard, glasses, clothes, hands, objects."""

from __future__ import annotations

from dataclasses import dataclass

from stream.types import Array

HAIR_PART, GLASSES_PART, CLOTHES_PART, OCCLUDER_PART = 7, 9, 10, 11
"""Parts in the label picture, after those of `stream.data.faces.head` and the front of the face (8).
Hair (and beards, brows, lashes), glasses and clothes are foreground; an occluder is not."""


@dataclass(frozen=True, slots=True)
class Prop:
    """A mesh drawn with the head, in the head frame, millimetres.

    :ivar vertices: (N, 3) float32.
    :ivar normals: (N, 3) float32 unit; which side they point to does not matter, both are drawn.
    :ivar uv: (N, 2) float32, places in ``picture`` or in the strand texture.
    :ivar triangles: (M, 3) int32.
    :ivar part: `HAIR_PART` ... `OCCLUDER_PART`.
    :ivar colour: (3,) float32 0..1 RGB albedo; multiplies ``picture`` where there is one.
    :ivar picture: (H, W, 3) uint8 RGB albedo, or ``None`` for one colour.
    :ivar gloss: strength of the highlight, 0 (cloth) to 1 (glass).
    :ivar strands: contrast of fine streaks along v (hair), 0 for none.
    :ivar stretch: how often streaks repeat along u and v.
    """

    vertices: Array
    normals: Array
    uv: Array
    triangles: Array
    part: int
    colour: Array
    picture: Array | None = None
    gloss: float = 0.05
    strands: float = 0.0
    stretch: tuple[float, float] = (1.0, 1.0)
