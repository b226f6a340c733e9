"""The engine cache: what it gives back, and what it refuses."""

from __future__ import annotations

import logging
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from stream.compute.cuda.driver import DeviceInfo
from stream.errors import BackendError
from stream.files import cache_folder
from stream.inference import tensorrt_cache
from stream.inference.tensorrt_cache import FOLDER, PlanKey, driver_version, load, plan_key, store

GPU = DeviceInfo("A card", "sm_86", 1 << 33, 82, "13.0")
KEY = plan_key(b"model", "tensorrt 10.13", GPU, "fp16", 4)
PLAN = bytes(range(256)) * 5
NOTES = {"loss": {"depth": 0.001}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "prosopon" / "engines"


def test_what_was_kept_comes_back(folder: Path) -> None:
    assert load(KEY, "plan") is None
    path = store(KEY, "plan", PLAN, NOTES)
    assert path is not None
    assert path.parent == folder == cache_folder(FOLDER)
    entry = load(KEY, "plan")
    assert entry is not None
    assert (entry.payload, entry.notes) == (PLAN, NOTES)
    assert load(KEY, "timing") is None
    assert [path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777] == [0o600, 0o700]
    assert list(folder.iterdir()) == [path]  # no temporary file stays


def test_a_newer_one_takes_the_place(folder: Path) -> None:
    store(KEY, "plan", PLAN)
    store(KEY, "plan", b"new")
    entry = load(KEY, "plan")
    assert entry is not None
    assert entry.payload == b"new"


@pytest.mark.parametrize("field", [field.name for field in fields(PlanKey)])
def test_every_part_of_the_key_counts(field: str) -> None:
    store(KEY, "plan", PLAN)
    change: dict[str, Any] = {field: 5 if field == "max_batch" else "other"}
    other = replace(KEY, **change)
    assert load(other, "plan") is None
    assert load(KEY, "plan") is not None


def test_the_key_holds_the_models_hash_and_the_machine() -> None:
    assert KEY.model == "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    assert (KEY.gpu, KEY.arch, KEY.library, KEY.precision) == ("A card", "sm_86", "tensorrt 10.13", "fp16")
    assert plan_key(b"modem", KEY.library, GPU, "fp16", 4) != KEY


def test_a_file_under_anothers_name_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """A plan for another GPU that was copied to this one's name."""
    other = replace(KEY, gpu="Another card")
    source, target = store(other, "plan", PLAN), tensorrt_cache.path_of(KEY, "plan")
    assert source is not None
    source.rename(target)
    with caplog.at_level(logging.WARNING):
        assert load(KEY, "plan") is None
    assert "built anew" in caplog.text


def test_a_change_anywhere_is_noticed() -> None:
    path = store(KEY, "plan", PLAN, NOTES)
    assert path is not None
    content = path.read_bytes()
    header = content.index(b"\n", len(tensorrt_cache._MAGIC))
    notes = range(content.index(b'"notes"'), header)
    for place in [*range(0, len(content), 97), 0, header, len(content) - 1]:
        if place in notes:
            continue  # what was measured, not what is run
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        assert load(KEY, "plan") is None, place
    for cut in (0, 1, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        assert load(KEY, "plan") is None, cut
    path.write_bytes(content + b"more")
    assert load(KEY, "plan") is None


@pytest.mark.parametrize("header", [b"[]", b"{}", b"null", b"\xff\xfe", b"{" * 100, b'{"key": 1}'])
def test_a_header_that_makes_no_sense_is_refused(header: bytes) -> None:
    path = store(KEY, "plan", PLAN)
    assert path is not None
    path.write_bytes(tensorrt_cache._MAGIC + header + b"\n" + PLAN)
    assert load(KEY, "plan") is None


def test_a_file_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store(KEY, "plan", PLAN)
    monkeypatch.setattr(tensorrt_cache, "MAX_BYTES", 100)
    assert load(KEY, "plan") is None


class TestForeignWriters:
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
    def test_a_folder_open_to_others_is_refused(self, folder: Path, mode: int) -> None:
        store(KEY, "plan", PLAN)
        folder.chmod(mode)
        with pytest.raises(BackendError, match="written by another user"):
            load(KEY, "plan")
        with pytest.raises(BackendError, match="written by another user"):
            store(KEY, "plan", PLAN)

    def test_a_file_open_to_others_is_refused(self) -> None:
        path = store(KEY, "plan", PLAN)
        assert path is not None
        path.chmod(0o666)
        with pytest.raises(BackendError, match="written by another user"):
            load(KEY, "plan")

    def test_the_shared_folder_above_is_closed_to_the_group(self, folder: Path) -> None:
        folder.parent.mkdir()
        folder.parent.chmod(0o775)  # as a umask of 002 leaves it
        store(KEY, "plan", PLAN)
        assert folder.parent.stat().st_mode & 0o777 == 0o755
        assert load(KEY, "plan") is not None

    def test_another_users_folder_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store(KEY, "plan", PLAN)
        monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
        with pytest.raises(BackendError, match="written by another user"):
            load(KEY, "plan")

    def test_links_and_pipes_are_refused(self, tmp_path: Path) -> None:
        path = store(KEY, "plan", PLAN)
        assert path is not None
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BackendError, match="cannot be read"):
            load(KEY, "plan")
        path.unlink()
        os.mkfifo(path, 0o600)
        with pytest.raises(BackendError, match="written by another user"):
            load(KEY, "plan")

    def test_a_link_in_the_folders_place_is_refused(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir(mode=0o700)
        folder.parent.mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "other")
        with pytest.raises(BackendError, match="written by another user"):
            store(KEY, "plan", PLAN)


def test_a_place_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert store(KEY, "plan", PLAN) is None
    assert "not kept" in caplog.text
    assert load(KEY, "plan") is None


def test_the_drivers_own_version_counts(tmp_path: Path) -> None:
    told = tmp_path / "version"
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05\nGCC version: 13\n")
    assert driver_version(GPU, told) == "13.0, NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05"
    told.write_text("")
    assert driver_version(GPU, told) == driver_version(GPU, tmp_path / "none") == "13.0"
