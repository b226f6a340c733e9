"""The mesh protocol's control messages: JSON texts on a reliable channel (docs/protocol.md)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stream.errors import ProtocolError

MAX_BYTES = 16_384
"""Longest control message, either way."""

SESSION_NAME = "[a-z0-9-]{1,64}"
"""What a session may be called: a regular expression."""

CONTROL, MESH = "prosopon.control", "prosopon.mesh"
"""The data channels' labels: reliable and ordered; unordered and without retransmission."""

SUBPROTOCOL = "prosopon.v1"
"""Of WebSockets: what a server selects."""


class _Message(BaseModel):
    """Unknown keys are passed over, so that later versions can add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


Count = Annotated[int, Field(ge=0, le=2**53)]


class Subscribe(_Message):
    """From a viewer: what it wants. Without this message it gets meshes.

    :ivar texture: pictures as JPEG messages, WebSocket only.
    """

    type: Literal["subscribe"] = "subscribe"
    mesh: bool = True
    expression: bool = False
    texture: bool = False


class KeyRequest(_Message):
    """From a viewer: the next mesh of each lane should be a key frame."""

    type: Literal["key"] = "key"


class Ping(_Message):
    """From either side: ``time`` comes back in the `Pong`.

    :ivar time: milliseconds on the sender's own clock.
    """

    type: Literal["ping"] = "ping"
    time: float = Field(allow_inf_nan=False)


class Pong(_Message):
    """The answer to a `Ping`.

    :ivar time: the ping's.
    :ivar server: the answering side's clock, microseconds since 1970 (`stream.protocol.clock`).
    """

    type: Literal["pong"] = "pong"
    time: float = Field(allow_inf_nan=False)
    server: Count


class Report(_Message):
    """From a viewer, about once a second: how it fares, for the sender to adapt.

    :ivar received: messages put together since the start.
    :ivar lost: messages given up or found missing since the start.
    :ivar shown: meshes shown since the start.
    :ivar latency_ms: capture to shown, the last second's median, or None.
    """

    type: Literal["report"] = "report"
    received: Count
    lost: Count
    shown: Count
    latency_ms: float | None = Field(None, allow_inf_nan=False)


class Hello(_Message):
    """From the server, first: what is common to all frames.

    :ivar protocol: `stream.protocol.fragments.VERSION`.
    :ivar session: the session's name.
    :ivar size: side of the grid; a mesh message's own size wins.
    :ivar key_seconds: a key frame comes at least that often.
    :ivar expressions: the names of the coefficients, in order.
    """

    type: Literal["hello"] = "hello"
    protocol: int
    session: str = Field(max_length=64)
    size: int = Field(ge=2, le=512)
    key_seconds: float = Field(gt=0, le=3600)
    expressions: list[Annotated[str, Field(max_length=64)]] = Field(max_length=64)


class Clock(_Message):
    """From whoever sends the video track: RTP timestamp = `stream.protocol.clock.media_time` + ``rtp``."""

    type: Literal["clock"] = "clock"
    rtp: int = Field(ge=0, lt=2**32)


class State(_Message):
    """From the server, on every change.

    :ivar state: ``live``, ``waiting`` (no picture comes), ``ended`` (the session is over).
    :ivar faces: how many are in the picture.
    :ivar viewers: how many watch.
    """

    type: Literal["state"] = "state"
    state: Literal["live", "waiting", "ended"]
    faces: int = Field(ge=0, le=16)
    viewers: int = Field(ge=0, le=100_000)


AnyMessage = Subscribe | KeyRequest | Ping | Pong | Report | Hello | Clock | State

_ANY: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="type")])


def check_name(name: str) -> None:
    """:raises ProtocolError: no session can be called so."""
    if re.fullmatch(SESSION_NAME, name) is None:
        raise ProtocolError("A session's name has 1 to 64 of the characters a to z, 0 to 9 and -.")


def write_message(message: AnyMessage) -> str:
    """The message as JSON."""
    return message.model_dump_json()


def read_message(text: str | bytes) -> AnyMessage:
    """A message from a peer; nothing in it is trusted.

    :raises ProtocolError: it is too long, not JSON, of an unknown type, or a value does not fit.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise ProtocolError(f"A control message of {size} bytes is too long; {MAX_BYTES} are allowed.")
    try:
        return _ANY.validate_json(text)
    except (ValidationError, RecursionError, UnicodeError) as error:
        raise ProtocolError("A control message is not one of this protocol.") from error
