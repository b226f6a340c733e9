"""Head models by topology: loaded, fitted, kept by name, and named where they cannot be had."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")

from stream.data.faces.head import EYES, SKIN
from stream.data.faces.topologies import NAMES, good_photos, load_topology, prepare
from stream.data.shards import ANNY, ICT
from stream.errors import MissingExtraError, ModelError


def test_both_head_models_are_told_apart_and_alike(engine: Any) -> None:
    assert set(engine.kits) == {ICT, ANNY}
    for topology, kit in engine.kits.items():
        model = kit.model
        assert model.topology == topology
        assert model.part[0] == SKIN
        assert model.part[-1] == EYES
        assert (np.diff(model.part.astype(int)) >= 0).all()
        points = kit.landmarks(model.mean)
        assert points.shape == (478, 3)
        assert points[152, 1] > 90, "the chin lies below the eyes: y is down"
        assert points[4, 2] < -25, "the nose's tip is nearer than the eyes: z is forward"
        assert np.median(kit.photos.fits.error[:24]) < 0.02


def test_fits_are_kept_by_the_topologys_name(engine: Any, face_data: Any) -> None:
    data, cache = face_data[:2]
    assert {path.name for path in cache.iterdir()} >= {"fits_ict.npz", "fits_anny.npz", "anny_head.npz"}
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    errors = prepare(data, cache, (ICT, ANNY), 1, None)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before, "nothing was fitted again"
    for topology, kit in engine.kits.items():
        assert errors[NAMES[topology]] == pytest.approx(np.median(kit.photos.fits.error), abs=1e-5)


def test_good_photos_are_those_that_fit(engine: Any) -> None:
    photos = engine.kits[ICT].photos
    limit = float(np.sort(photos.fits.error[:24])[11])
    good = good_photos(photos, range(24), limit)
    assert len(good) == 11
    assert (photos.fits.error[good] < limit).all()
    assert len(good_photos(photos, range(24), 0.0)) == 0


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="ict_facekit"):
        load_topology(ICT, tmp_path, tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="anny"):
        load_topology(ANNY, tmp_path, tmp_path)
