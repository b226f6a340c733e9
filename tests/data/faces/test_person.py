"""What is person and what is background in a photo."""

from typing import Any

import cv2
import numpy as np

from stream.data.faces.person import PersonSegmenter, person_flags
from stream.data.shards import DEPTH_KNOWN, FOREGROUND, MASK_KNOWN
from stream.types import Crop

SIZE = 32
WHOLE = Crop(15.5, 15.5, 16.0, 0.0)


def _face() -> np.ndarray:
    face = np.zeros((SIZE, SIZE), bool)
    face[12:20, 12:20] = True
    return face


def test_only_what_hangs_together_with_the_face_is_head_and_only_above_the_chin() -> None:
    person = np.zeros((SIZE, SIZE), np.float32)
    person[6:32, 8:24] = 1.0  # hair above the face, body below it
    person[4:10, 27:31] = 1.0  # somebody else
    person[0:4, 8:24] = 0.5  # who knows
    flags = person_flags(person, WHOLE, SIZE, _face(), chin=0.25)
    both = MASK_KNOWN | FOREGROUND
    assert (flags[6:20, 8:24] == both).all()
    assert (flags[20:, 8:24] == 0).all(), "shoulders are neither"
    assert (flags[4:10, 27:31] == 0).all()
    assert (flags[0:4, 8:24] == 0).all()
    assert (flags[12:, 0:8] == MASK_KNOWN).all()


def test_a_face_is_never_called_background() -> None:
    flags = person_flags(np.zeros((SIZE, SIZE), np.float32), WHOLE, SIZE, _face(), chin=0.25)
    assert (flags[_face()] == 0).all()
    assert (flags[~_face()] == MASK_KNOWN).all()


def test_the_crop_is_followed() -> None:
    person = np.zeros((64, 64), np.float32)
    person[:, :32] = 1.0
    flags = person_flags(person, Crop(31.5, 31.5, 32.0, 0.0), SIZE, np.ones((SIZE, SIZE), bool), chin=1.0)
    assert (flags[:, :15] == MASK_KNOWN | FOREGROUND).all()
    assert (flags[:, 17:] & FOREGROUND == 0).all()


def test_hair_is_found_on_photos_and_no_picture_changes_the_next(engine: Any) -> None:
    photos = engine.kits[min(engine.kits)].photos
    segment = PersonSegmenter()
    first = segment(photos.image(0))
    assert first.shape == (320, 320)
    assert (segment(np.zeros((320, 320, 3), np.uint8)) > 0.5).mean() < 0.2, "nobody"
    np.testing.assert_array_equal(segment(photos.image(0)), first)
    segment.close()
    hair, right = [], []
    for index in range(8):
        sample = engine.photo(index, (1, 0, 1, index), False)
        known, face = sample.flags & MASK_KNOWN > 0, sample.flags & DEPTH_KNOWN > 0
        head = sample.flags & FOREGROUND > 0
        assert known.mean() > 0.4, "most of the picture is told apart"
        hair.append((head & ~face).mean())
        # All of the face that the mesh labels is the person's for the other network, too.
        seen = cv2.resize(segment_of(engine, index, sample.crop), (engine.size, engine.size))
        right.append(seen[face].mean())
    assert np.median(hair) > 0.1
    assert min(right) > 0.9


def segment_of(engine: Any, index: int, crop: Crop) -> np.ndarray:
    """The other network on the crop itself, which it sees larger than in the photo."""
    from stream.face.crop import crop_image

    segment = PersonSegmenter()
    result = segment(crop_image(engine.kits[min(engine.kits)].photos.image(index), crop, 256))
    segment.close()
    return result
