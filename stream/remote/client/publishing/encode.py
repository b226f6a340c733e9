"""From a capture to what a publisher sends: mesh and expression messages."""

from __future__ import annotations

from stream.mesh.halve import shrunk
from stream.protocol.expression_codec import ExpressionFrame, encode_expression
from stream.protocol.fragments import MAX_LANES, Kind, Message
from stream.protocol.mesh_codec import MeshEncoder
from stream.remote.settings import SendSettings
from stream.types import Capture, Expression, Face, Surface

SIDE = 128
"""Largest side of a map that is sent: `stream.recipes.LIVE_SIDE`. The GPU's chain makes finer ones."""

KEY_SECONDS = 1.0
"""Shorter than a server's: what is lost on the way to it, all viewers lack."""


class CaptureEncoder:
    """Encodes captures one after the other, each person in a lane, as a server does by default."""

    def __init__(self) -> None:
        self._settings = SendSettings()
        self._encoders: dict[int, MeshEncoder] = {}
        self._sequence = 0

    def request_key(self) -> None:
        """Make the next message of each lane a key frame: whoever receives them is new."""
        for encoder in self._encoders.values():
            encoder.request_key()

    def encode(self, capture: Capture, captured: int) -> list[Message]:
        """The messages of one capture: what is known of each person's surface and expression.

        :param captured: when it was captured, microseconds on the server's clock.
        :raises InputError: a surface or a face's values cannot be sent.
        """
        index, people = capture.frame.index, capture.people[:MAX_LANES]
        meshes = [
            self._mesh(lane, person.face, person.surface, index, captured)
            for lane, person in enumerate(people)
            if person.surface is not None
        ]
        expressions = [
            self._expression(lane, person.face, person.expression, index, captured)
            for lane, person in enumerate(people)
            if person.expression is not None
        ]
        return meshes + expressions

    def _mesh(self, lane: int, face: Face, surface: Surface, index: int, captured: int) -> Message:
        if lane not in self._encoders:
            self._encoders[lane] = MeshEncoder(self._settings.bits, KEY_SECONDS, self._settings.mesh_budget)
        encoded = self._encoders[lane].encode(self._next(), face, shrunk(surface, SIDE), index, captured)
        return Message(Kind.MESH, lane, encoded.sequence, encoded.body)

    def _expression(
        self, lane: int, face: Face, expression: Expression, index: int, captured: int
    ) -> Message:
        frame = ExpressionFrame(
            index, captured, face.track_id, face.intrinsics, face.pose, expression.coefficients
        )
        return Message(Kind.EXPRESSION, lane, self._next(), encode_expression(frame))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
