"""Settings of `prosopon serve` (configs/serve.yaml)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field, SecretStr

from stream.config import Settings
from stream.recipes import CaptureSettings

TOKEN_VARIABLE = "PROSOPON_TOKEN"
"""The environment's: a token for clients and servers that are not given one."""


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class IceSettings(Settings):
    """How peers find each other where they are not on one network.

    :ivar stun: STUN servers, ``stun:host:port``. None by default: nothing outside is contacted unasked.
    :ivar turn: TURN servers, ``turn:host:port?transport=udp``.
    :ivar turn_secret: shared with the TURN server (coturn's ``static-auth-secret``): each client gets
        credentials of its own that end after ``turn_seconds``.
    """

    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    turn_secret: SecretStr | None = None
    turn_seconds: int = Field(3600, ge=60, le=86_400)


class SendSettings(Settings):
    """What viewers are sent.

    :ivar size: side of the depth maps.
    :ivar bits: of a depth level on the wire.
    :ivar mesh_kbps: bit rate of a face's meshes at 30 a second, all headers included; where a restless face
        needs more, it gets fewer bits, 10 at least.
    :ivar key_seconds: a key frame comes at least that often.
    :ivar video_side: longer side of the texture's video, pixels; smaller pictures are not enlarged.
    :ivar video_kbps: its bit rate.
    """

    size: int = Field(128, ge=32, le=192)
    bits: int = Field(11, ge=10, le=14)
    mesh_kbps: int = Field(1500, ge=100, le=8000)
    key_seconds: float = Field(2.0, gt=0, le=60)
    video_side: int = Field(640, ge=64, le=1920)
    video_kbps: int = Field(1000, ge=100, le=8000)

    @property
    def mesh_budget(self) -> float:
        """Bytes that a mesh message may have on average: headers on its way make a tenth more."""
        return self.mesh_kbps * 125 / 30 / 1.1


class ServeSettings(Settings):
    """What a server does.

    :ivar host: address to listen on. One that others can reach needs a token and TLS, or ``insecure``.
    :ivar tls_certificate, tls_key: PEM files; both or none.
    :ivar insecure: listen to others without a token or TLS all the same.
    :ivar publish_token, view_token: what publishers and viewers must show; ``PROSOPON_TOKEN`` stands in for
        each that is not set. A publish token may also view.
    :ivar origins: pages of other origins (``https://host:port``) that may use the server.
    :ivar proxies: addresses of reverse proxies, whose ``X-Forwarded-For`` is believed.
    :ivar max_sessions, max_viewers: at once; viewers are counted per session.
    :ivar idle_seconds: a session without a picture, or a peer without a sign of life, ends after that long.
    :ivar offers_per_minute: SDP offers taken from one address.
    """

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    publish_token: SecretStr | None = None
    view_token: SecretStr | None = None
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    max_sessions: int = Field(4, ge=1, le=256)
    max_viewers: int = Field(32, ge=1, le=1000)
    idle_seconds: float = Field(30.0, ge=1, le=3600)
    offers_per_minute: int = Field(60, ge=1, le=10_000)
    ice: IceSettings = IceSettings()
    send: SendSettings = SendSettings()
    capture: CaptureSettings = CaptureSettings()
