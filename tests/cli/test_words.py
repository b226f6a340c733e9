"""What is printed: text as it stands, and nothing lost with whoever reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from rich.table import Table
from skimage.io import imsave

from stream.cli.tables import console
from stream.cli.words import PlainConsole, printable

CHECKOUT = Path(__file__).parents[2]
NAMES = ["take [/x]/clip.mp4", "[draft]", "[link=http://a]b[/link]", ":smile:.jpg", "a\\[b]"]


def prosopon(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    program = "from stream.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        timeout=120,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("name", NAMES)
def test_sentences_titles_and_cells_show_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    console.print(f"Written: {name}")
    console.print(table)
    assert capsys.readouterr().out.count(name) == 4


def test_control_characters_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name")
    table.add_row("c\x1b[2Jd")
    console.print("a\x1b[2J\rb")
    console.print(table)
    printed = capsys.readouterr().out
    assert "a\\x1b[2J\\x0db" in printed
    assert "c\\x1b[2Jd" in printed
    assert "\x1b" not in printed
    assert printable("Bild\u202f3.04\u3000日本\n") == "Bild\u202f3.04\u3000日本\n"


def test_a_sentence_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    PlainConsole().print("/a/long/path" * 40)
    assert capsys.readouterr().out == "/a/long/path" * 40 + "\n"


@pytest.mark.parametrize("name", ["no [/x]/clip.mp4", "[draft].mp4", ":smile:.mp4"])
def test_errors_name_files_as_they_are(name: str) -> None:
    done = prosopon("live", "--source", name)
    assert done.returncode == 1
    assert name in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["fl[/x]y"], ["live", "--[/x]"]])
def test_wrong_usage_is_no_markup_either(arguments: list[str]) -> None:
    done = prosopon(*arguments)
    assert done.returncode == 2
    assert arguments[-1].encode() in done.stderr


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    from stream.evaluation.plain_figure import plain

    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], label=r"a$\frac{b$")
    axes.legend()
    figure.suptitle(r"$\take_{1$.mp4")
    plain(figure).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


LOST = {
    "nobody reads": "{command} | true",
    "the disk is full": "{command} >/dev/full",
    "both are closed": "{command} >&- 2>&-",
}


@pytest.mark.parametrize("how", LOST)
def test_a_lost_output_changes_nothing_but_the_words(tmp_path: Path, how: str) -> None:
    """Names that are no markup and no UTF-8, and a standard output that nobody reads any more."""
    folder = os.fsencode(tmp_path) + b"/take [/x] caf\xe9"
    os.makedirs(folder)
    imsave(os.fsdecode(folder) + "/a[b].png", skimage.data.astronaut())
    out = tmp_path / "[draft]"
    program = f"{sys.executable} -c 'from stream.cli.main import main; main()'"
    command = f'{program} live --source "$SOURCE" --show off --out "$OUT"'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", LOST[how].format(command=command)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "SOURCE": os.fsdecode(folder), "OUT": str(out)},
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    figures = json.loads((out / "live.json").read_text())
    assert figures["files"]["mesh"] == str(out / "face.glb")
    assert (out / "face.glb").stat().st_size > 10_000


def test_a_name_that_is_no_text_is_shown_by_its_bytes() -> None:
    done = prosopon("live", "--source", os.fsdecode(b"caf\xe9.mp4"))
    assert done.returncode == 1
    assert rb"caf\udce9.mp4" in done.stderr
    assert b"Traceback" not in done.stderr
