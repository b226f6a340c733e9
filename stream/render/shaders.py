"""Finds and builds the GLSL programs in ``shaders/``."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np


def shader_source(name: str) -> str:
    """Text of one shader, such as ``mesh.vert``; ``stream/shaders`` is a link to the top folder."""
    return resources.files("stream").joinpath("shaders", name).read_text(encoding="utf-8")


def build_program(gl: Any, vertex: str, fragment: str, geometry: str | None = None) -> Any:
    """Compile and link shaders by file name into a `moderngl.Program`."""
    return gl.program(
        vertex_shader=shader_source(vertex),
        fragment_shader=shader_source(fragment),
        geometry_shader=shader_source(geometry) if geometry else None,
    )


def set_uniform(program: Any, name: str, value: Any) -> None:
    """Set a uniform, unless this program's driver dropped it as unused.

    :param value: a number, a tuple, or a numpy matrix for column vectors.
    """
    uniform = program.get(name, None)
    if uniform is None:
        return
    if isinstance(value, np.ndarray):
        uniform.write(np.ascontiguousarray(value.T, dtype=np.float32))
    else:
        uniform.value = value
