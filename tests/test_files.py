"""Files appear whole or not at all."""

import io
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stream.errors import OutputError
from stream.files import ARCHIVE_ERRORS, atomic_path, cache_folder, try_output


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "result.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"whole")
        assert not target.exists()
        assert temporary.suffix == ".bin"
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failing_block_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.bin"
    target.write_bytes(b"older")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyError("broken off")

    with pytest.raises(KeyError):
        write_half()
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="choose another place"), atomic_path(tmp_path / "file" / "x.glb"):
        pass


def test_damaged_archives_raise_only_what_is_expected_of_them() -> None:
    """Every byte spoilt in turn, and every length: read whole, or one of the known errors."""
    whole = io.BytesIO()
    np.savez_compressed(whole, a=np.arange(40.0))
    content, kinds = whole.getvalue(), set()
    spoilt = [content[:k] + bytes([content[k] ^ 0x10]) + content[k + 1 :] for k in range(len(content))]
    for damaged in [*spoilt, *(content[:k] for k in range(len(content)))]:
        try:
            with np.load(io.BytesIO(damaged), allow_pickle=False) as arrays:
                arrays["a"]
        except ARCHIVE_ERRORS as error:
            kinds.add(type(error).__name__)
    assert {"BadZipFile", "EOFError", "KeyError"} <= kinds


def test_an_archive_that_claims_more_than_memory_holds_is_one_of_the_errors(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)}
    np.lib.format.write_array_header_1_0(header, shape)
    path = tmp_path / "lie.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(64))
    with pytest.raises(ARCHIVE_ERRORS), np.load(path, allow_pickle=False) as data:
        _ = data["a"]


def test_what_is_kept_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("kernels") == tmp_path / "prosopon" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder("kernels") == Path("/home/somebody/.cache/prosopon/kernels")


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/real.bin").write_bytes(b"older")
    for name, goal in (("link.bin", "elsewhere/real.bin"), ("new.bin", "elsewhere/new.bin")):
        link = tmp_path / name
        link.symlink_to(goal)
        try_output(link)
        with atomic_path(link) as temporary:
            temporary.write_bytes(b"whole")
        assert os.readlink(link) == goal
        assert (tmp_path / goal).read_bytes() == b"whole"
    assert len(list(tmp_path.rglob("*"))) == 5


def test_permissions_stay(tmp_path: Path) -> None:
    target = tmp_path / "secret.json"
    target.write_text("{}")
    target.chmod(0o600)
    with atomic_path(target) as temporary:
        temporary.write_text("[]")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("[]", 0o600)


def test_a_pipe_and_a_device_are_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with atomic_path(pipe) as temporary:
        temporary.write_bytes(b"{}")
    reader.join()
    assert got == [b"{}"]
    assert pipe.is_fifo()
    try_output(Path(os.devnull))
    with atomic_path(Path(os.devnull)) as temporary:
        temporary.write_bytes(b"gone")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("name", ["a" * 241 + ".glb", "\N{HIRAGANA LETTER A}" * 83 + ".json"])
def test_names_as_long_as_a_folder_takes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    try_output(path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"x")
    assert path.read_bytes() == b"x"


def test_what_cannot_be_written_is_found_out_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.glb").mkdir()
    for path, words in (
        (tmp_path / "file/x.glb", "choose another place"),
        (tmp_path / "folder.glb", "folder"),
        (tmp_path / ("a" * 300 + ".glb"), "too long"),
        (tmp_path / "a\0b", "null"),
        (Path("/proc/none/x.glb"), "choose another place"),
    ):
        with pytest.raises(OutputError, match=words):
            try_output(path)
    try_output(tmp_path / "new/x.glb")
    assert list((tmp_path / "new").iterdir()) == []
