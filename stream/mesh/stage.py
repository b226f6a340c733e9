"""The pipeline's stages from depth maps to surfaces, and from surfaces to meshes."""

from __future__ import annotations

from dataclasses import replace

from stream.compute.backends import AUTO, load_twin
from stream.mesh.build import mesh_of, surface_of
from stream.types import Capture, Frame, Person


class SurfaceStage:
    """Adds the ``surface`` of each person who has a depth: what is shown and sent (`surface_of`).

    A `stream.pipeline.stage.Stage`.
    """

    name = "surface"

    def open(self) -> None:
        """Load the kernels, which may compile them for some seconds the first time."""
        load_twin("mend_surface", "numba")

    def __call__(self, capture: Capture) -> Capture:
        """Make the surfaces.

        :raises InputError: a depth is not usable.
        """
        return capture.adding("surface", map(_with_surface, capture.people))

    def close(self) -> None:
        """Nothing to give back."""


class MeshStage:
    """Adds the ``mesh`` of each person who has a surface (a `stream.pipeline.stage.Stage`).

    Every mesh has arrays of its own: other threads may still read an older capture's.

    :param compute: ``auto``, ``numba`` or ``cuda``.
    """

    name = "mesh"

    def __init__(self, compute: str = AUTO) -> None:
        self._compute = compute

    def open(self) -> None:
        """Load the kernels, which may compile them for some seconds the first time.

        :raises ConfigError, BackendError: the compute backend is unknown or cannot run here.
        """
        load_twin("depth_to_mesh", self._compute)

    def __call__(self, capture: Capture) -> Capture:
        """Make the meshes.

        :raises InputError: a surface or a pose is not usable.
        """
        return capture.adding(
            "mesh", [_with_mesh(capture.frame, person, self._compute) for person in capture.people]
        )

    def close(self) -> None:
        """Nothing to give back."""


def _with_surface(person: Person) -> Person:
    return person if person.depth is None else replace(person, surface=surface_of(person.depth))


def _with_mesh(frame: Frame, person: Person, compute: str) -> Person:
    if person.surface is None:
        return person
    return replace(person, mesh=mesh_of(frame, person.face, person.surface, compute))
