from __future__ import annotations

import numpy as np
import pytest

from stream.render.scene import MODES
from stream.render.shaders import build_program, set_uniform, shader_source


def test_every_modes_shaders_are_found_and_start_with_their_version():
    names = ["mesh.vert", "wireframe.geom", "screen.vert", "gradient.frag", "image.frag"]
    for name in names + [f"{mode}.frag" for mode in MODES]:
        assert shader_source(name).startswith("#version 330 core\n")


def test_uniforms_take_matrices_for_column_vectors_and_ignore_unused_names(egl):
    program = build_program(egl.gl, "mesh.vert", "normals.frag")
    matrix = np.arange(16.0).reshape(4, 4)
    set_uniform(program, "projection", matrix)
    np.testing.assert_array_equal(np.array(program["projection"].value).reshape(4, 4).T, matrix)
    set_uniform(program, "depth_range", (1.0, 2.0))
    with pytest.raises(KeyError):
        program["depth_range"]
