"""Captures made of, and taken apart into, what is known of their people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from stream.types import Capture, Depth, Expression, Face, Frame, Mesh, Person, Surface


def capture_with(
    frame: Frame, faces: Sequence[Face], depths: Sequence[Depth] = (), meshes: Sequence[Mesh] = ()
) -> Capture:
    """A capture of these faces; depths and meshes, where given, are in the order of the faces."""
    people = []
    for number, face in enumerate(faces):
        depth = depths[number] if depths else None
        people.append(Person(face, depth=depth, mesh=meshes[number] if meshes else None))
    known = {"face"} | {name for name, given in (("depth", depths), ("mesh", meshes)) if given}
    return Capture(frame, tuple(people), frozenset(known))


def faces_of(capture: Capture) -> tuple[Face, ...]:
    """Everybody's face."""
    return tuple(person.face for person in capture.people)


def depths_of(capture: Capture) -> tuple[Depth, ...]:
    """The depths of those who have one."""
    return tuple(person.depth for person in capture.people if person.depth is not None)


def surfaces_of(capture: Capture) -> tuple[Surface, ...]:
    """The surfaces of those who have one."""
    return tuple(person.surface for person in capture.people if person.surface is not None)


def expressions_of(capture: Capture) -> tuple[Expression, ...]:
    """The expressions of those who have one."""
    return tuple(person.expression for person in capture.people if person.expression is not None)


def filled(capture: Capture) -> list[set[str]]:
    """Which fields each person has."""
    return [
        {field.name for field in fields(one) if getattr(one, field.name) is not None}
        for one in capture.people
    ]
