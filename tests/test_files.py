"""Files appear whole or not at all."""

from pathlib import Path

import pytest

from stream.errors import OutputError
from stream.files import atomic_path


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
