"""From what a viewer receives back to what is worked on here: a picture, and people in its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2

from stream.remote.blank import blank_picture
from stream.remote.client.watching.frame import RemoteFrame
from stream.types import Array, Crop, Intrinsics, Person

MAX_STRETCH = 1.05
"""A picture whose proportions differ more from the surface's own is another one: the camera was turned."""

MAX_SLACK = 1.001
"""Up to here its sides were rounded as it was made smaller; beyond, it is given the camera's proportions."""

MAX_SIDE = 4096
"""Longest side of a picture that is made for that, pixels: a header may claim more."""


def received_picture(received: RemoteFrame) -> Array:
    """(H, W, 3) uint8 RGB in the proportions of the surface's camera: its picture, grey where none came."""
    camera, image = received.surface.intrinsics, received.picture
    if image is None:
        return blank_picture(camera)
    stretch = image.shape[1] / camera.width * camera.height / image.shape[0]
    if 1 / MAX_SLACK <= stretch <= MAX_SLACK:
        return image
    fits = 1 / MAX_STRETCH <= stretch <= MAX_STRETCH and max(camera.width, camera.height) <= MAX_SIDE
    return cv2.resize(image, (camera.width, camera.height)) if fits else blank_picture(camera)


def received_people(group: Sequence[RemoteFrame], image: Array) -> list[Person]:
    """Everybody's face and surface, the faces' crops and cameras in the pixels of an image of any size.

    Millimetres and crop units are the sender's.
    """
    return [_in_picture(received.surface.person, image) for received in group]


def _in_picture(person: Person, image: Array) -> Person:
    crop, camera = person.face.crop, person.face.intrinsics
    height, width = image.shape[:2]
    if (width, height) == (camera.width, camera.height):
        return person
    across, down = width / camera.width, height / camera.height
    x, y = _scaled(crop.x, across), _scaled(crop.y, down)
    cx, cy = _scaled(camera.cx, across), _scaled(camera.cy, down)
    face = replace(
        person.face,
        crop=Crop(x, y, crop.half * math.sqrt(across * down), crop.angle),
        intrinsics=Intrinsics(camera.fx * across, camera.fy * down, cx, cy, width, height),
    )
    return replace(person, face=face)


def _scaled(place: float, scale: float) -> float:
    """A coordinate whose origin is the first pixel's centre, in pixels of another size."""
    return (place + 0.5) * scale - 0.5
