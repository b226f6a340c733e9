"""`prosopon serve`: says where it is, ends cleanly, and refuses what it must in one sentence."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream.cli.main import main
from stream.remote.settings import ServeSettings


class QuietHub:
    """A hub without models, so that a server starts at once."""

    def __init__(self, settings: ServeSettings) -> None:
        self.ready = False

    async def open(self) -> None:
        self.ready = True

    async def close(self) -> None:
        self.ready = False


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)
    monkeypatch.setattr("stream.remote.server.sessions.hub.SessionHub", QuietHub)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    return int(ended.value.code or 0)


def test_serves_for_a_while_and_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", "0", "--duration", "0.2", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["ended"] == "duration"
    assert 0.2 <= figures["seconds"] < 5
    assert (figures["requests"], figures["published"]) == (0, 0)


def test_says_what_to_open_and_what_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", "0", "--duration", "0.1") == 0
    out = capsys.readouterr().out
    assert re.search(r"Open http://127\.0\.0\.1:\d+ in a browser, without a token; Ctrl-C stops\.", out)
    assert "0 cameras and 0 viewers" in out


QUIET = """
import asyncio, sys
import stream.remote.server.sessions.hub as hub

seconds = float(sys.argv.pop())

class QuietHub:
    def __init__(self, settings):
        self.ready = False
    async def open(self):
        print("loading", flush=True)
        await asyncio.sleep(seconds)
        self.ready = True
    async def close(self):
        self.ready = False

hub.SessionHub = QuietHub
from stream.cli.main import main
main()
"""
"""The command in a process of its own, whose models take as long to load as the last argument says."""


@pytest.mark.parametrize(
    ("loading", "until", "said"),
    [(0, "Open http", "0 cameras and 0 viewers"), (60, "loading", "Stopped while")],
)
def test_a_signal_ends_it(loading: int, until: str, said: str) -> None:
    command = [sys.executable, "-c", QUIET, "serve", "--port", "0", str(loading)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            while until not in (line := process.stdout.readline()):
                assert line, "it ended by itself"
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=30)
            assert process.returncode == 0
            assert said in rest
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--port", "70000"], "port"),
        (["--max-sessions", "0"], "max_sessions"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert words in capfd.readouterr().err


def test_a_taken_port_is_wrong_usage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert run("--port", str(taken.getsockname()[1])) == 2


def test_the_settings_file_counts_and_the_line_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text("port: 1\npublish_token: camera\n")
    assert run("--config", str(config), "--port", "0", "--duration", "0.1") == 0
    out = capsys.readouterr().out
    assert "without a token" not in out
    assert "camera;" not in out
