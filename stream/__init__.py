"""Prosopon: a camera becomes a live 3D face. The `prosopon` command is in `stream.cli`.

What programs use::

    from stream import CaptureSettings, capture_image, write_mesh

    capture = capture_image(image)  # (H, W, 3) uint8 RGB
    write_mesh(capture.meshes[0], "face.glb")  # millimetres become metres, y up

and, live, `Session` between a source (`open_source`) and sinks of one's own. The types that flow are in
`stream.types`, errors in `stream.errors`. Names load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.mesh.export import write_mesh
    from stream.recipes import CaptureSettings
    from stream.session import Session
    from stream.sources.factory import open_source
    from stream.still import capture_image
    from stream.types import Capture, Depth, Expression, Face, Frame, Mesh, Person, Surface

__version__ = "0.1.0"

_HOMES = {
    "capture_image": "stream.still",
    "CaptureSettings": "stream.recipes",
    "Session": "stream.session",
    "open_source": "stream.sources.factory",
    "write_mesh": "stream.mesh.export",
    **dict.fromkeys(
        ("Capture", "Depth", "Expression", "Face", "Frame", "Mesh", "Person", "Surface"), "stream.types"
    ),
}

__all__ = [  # noqa: RUF022 - in the order of use
    "capture_image",
    "write_mesh",
    "CaptureSettings",
    "Session",
    "open_source",
    "Capture",
    "Depth",
    "Expression",
    "Face",
    "Frame",
    "Mesh",
    "Person",
    "Surface",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stream' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
