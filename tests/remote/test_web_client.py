"""The page's code: its own tests, whether dist/ is what the sources give, the messages it is tested with."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.protocol.fragments import Reassembler
from stream.protocol.mesh_codec import MeshDecoder

WEB = Path(__file__).parents[2] / "stream" / "remote" / "web"
VECTORS = Path(__file__).parents[1] / "data" / "protocol"


def run_node(*command: str) -> subprocess.CompletedProcess[str]:
    """Run node in the page's folder, or skip."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here; install it with: apt-get install nodejs npm")
    if not (WEB / "node_modules").exists():
        pytest.skip("the page's packages are not here; install them with: npm ci --prefix stream/remote/web")
    return subprocess.run([node, *command], cwd=WEB, capture_output=True, text=True, timeout=120)


def test_the_pages_own_tests_pass() -> None:
    result = run_node("test/run.mjs")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_types_fit() -> None:
    result = run_node("node_modules/typescript/bin/tsc", "--noEmit")
    assert result.returncode == 0, result.stdout + result.stderr


def test_dist_is_what_the_sources_give() -> None:
    result = run_node("build.mjs", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_built_page_asks_nobody_else_and_runs_nothing_inline() -> None:
    page = (WEB / "dist" / "index.html").read_text()
    assert "style=" not in page
    assert "<style" not in page
    assert page.count("<script") == page.count('<script type="module" src="assets/app.js">') == 1
    assert "://" not in page
    lock = json.loads((WEB / "package-lock.json").read_text())
    assert not any("resolved" in package for package in lock["packages"].values()), "no registry is named"


def test_the_messages_that_clients_are_tested_with_become_their_levels() -> None:
    described = json.loads((VECTORS / "vectors.json").read_text())["messages"]
    datagrams, levels = (VECTORS / "messages.bin").read_bytes(), (VECTORS / "levels.bin").read_bytes()
    decoders: dict[int, Any] = {}
    reassembler, at, compared = Reassembler(), 0, 0
    for expected in described:
        message = None
        for _ in range(expected["datagrams"]):
            (length,) = struct.unpack_from("<H", datagrams, at)
            message = reassembler.accept(datagrams[at + 2 : at + 2 + length])
            at += 2 + length
        assert message is not None
        assert (message.kind, message.lane, message.sequence) == tuple(
            expected[name] for name in ("kind", "lane", "sequence")
        )
        if "size" not in expected:
            continue
        frame = decoders.setdefault(message.lane, MeshDecoder()).decode(message.sequence, message.body)
        assert frame is not None
        pixels = expected["size"] ** 2
        wanted = np.frombuffer(levels, "<u2", pixels, compared).reshape(frame.depth.shape)
        compared += 2 * pixels
        step = 2.5 / (2 ** expected["bits"] - 2)
        np.testing.assert_allclose(
            frame.depth, np.where(wanted, -1.25 + (wanted - 1.0) * step, np.nan), atol=1e-6
        )
    assert compared == len(levels)
