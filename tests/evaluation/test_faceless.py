"""A benchmark of nothing is no benchmark."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream.errors import FaceError
from stream.evaluation.benchmark import BenchSettings, measure


def test_a_video_without_a_face_is_told_not_timed(tmp_path: Path) -> None:
    for number in range(2):
        picture = np.full((120, 160, 3), 40 * number, np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    settings = BenchSettings(source=str(tmp_path), frames=10, warmup=1, render=False)
    with pytest.raises(FaceError, match=r"shows a face.*--source"):
        measure(settings, None)
