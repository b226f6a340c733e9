"""What is behind the head."""

from __future__ import annotations

import numpy as np

from stream.data.faces.backgrounds import draw_background


def test_backgrounds_are_pictures_of_every_kind() -> None:
    rng = np.random.default_rng(5)
    photo = rng.integers(0, 255, (320, 320, 3), np.uint8)
    pictures = [draw_background(rng, photo, 48) for _ in range(30)]
    assert all(p.shape == (48, 48, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 30
