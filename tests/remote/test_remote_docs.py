"""The programs in docs/remote.md run as they are printed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote.fake_server import FakeServer

from stream.remote.loop_thread import LoopThread

TEXT = (Path(__file__).parents[2] / "docs" / "remote.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ADDRESS = '"http://127.0.0.1:8080"'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.delenv("PROSOPON_TOKEN", raising=False)
    fake, thread = FakeServer(), LoopThread("test-server")
    thread.submit(fake.start()).result(10)
    try:
        yield fake
    finally:
        thread.submit(fake.stop()).result(10)
        thread.stop()


def printed(program: str, url: str, count: int) -> str:
    """The program with another address and that many frames."""
    assert program.count(ADDRESS) == 1
    return program.replace(ADDRESS, f'"{url}", {count}')


def test_the_viewer_prints_what_comes(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(PROGRAMS) == 2
    assert len([line for line in PROGRAMS[0].splitlines() if line.strip()]) <= 20
    exec(printed(PROGRAMS[0], server.url, 25), {"__name__": "__main__"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 25
    assert re.fullmatch(
        r"face 3: -0\.\d\d at its nearest, \(240, 320, 3\), \d+ ms after its capture", lines[-1]
    )


def test_the_publisher_publishes(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    program = printed(PROGRAMS[1], server.url, 6)
    running = threading.Thread(target=exec, args=(program, {"__name__": "__main__"}))
    running.start()
    running.join(60)
    assert not running.is_alive()
    until = time.monotonic() + 5
    while not server.publishers[0].surfaces and time.monotonic() < until:
        time.sleep(0.02)
    assert server.publishers[0].surfaces
    assert re.search(r"PublisherFigures\(connected=False, sent=[1-9]", capsys.readouterr().out)
