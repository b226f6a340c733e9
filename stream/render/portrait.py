"""Pictures of one mesh from chosen sides, turned with the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream.errors import InputError
from stream.render.scene import MeshScene, mesh_bounds
from stream.render.view import OrbitView
from stream.types import Array, Mesh

GROUND = (11, 12, 15)


def in_head_axes(mesh: Mesh, pose: Array) -> Mesh:
    """The mesh turned about the eyes' midpoint until its head looks straight into the camera.

    :param pose: (4, 4) head to camera, mm (`stream.types.Face.pose`).
    :raises InputError: the pose is not a finite (4, 4) matrix.
    """
    if np.shape(pose) != (4, 4) or not np.isfinite(pose).all():
        raise InputError("The head's pose must be a finite (4, 4) matrix.")
    rotation, centre = np.asarray(pose[:3, :3], np.float32), np.asarray(pose[:3, 3], np.float32)
    return replace(
        mesh, vertices=(mesh.vertices - centre) @ rotation + centre, normals=mesh.normals @ rotation
    )


def head_views(
    scene: MeshScene, mesh: Mesh, pose: Array, views: Sequence[tuple[str, float]], side: int
) -> list[Array]:
    """Square pictures of a mesh, each from a side given relative to its head.

    :param views: render mode (`stream.render.scene.MODES`) and degrees by which the head is turned from
        looking straight at the viewer, positive to the picture's right.
    :param side: of each picture, pixels.
    :return: (side, side, 3) uint8 pictures; dark where the mesh has no triangle.
    :raises ConfigError: a mode is unknown or the side is out of range.
    :raises InputError: the mesh or the pose is not usable.
    """
    turned = in_head_axes(mesh, pose)
    bounds = mesh_bounds((turned,))
    pictures = []
    for mode, yaw in views:
        if bounds is None:
            pictures.append(np.full((side, side, 3), GROUND, np.uint8))
            continue
        orbit = OrbitView(yaw)
        orbit.follow(*bounds, 0.0)
        scene.draw((turned,), orbit, mode, (side, side))
        pictures.append(scene.read())
    return pictures
