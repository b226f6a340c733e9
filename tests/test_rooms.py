"""Imports between rooms point one way: from what a person meets down to what everything is made of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import stream

PACKAGE = Path(stream.__file__).parent

GROUND = {"types", "geometry", "errors", "yaml_text", "config", "files", "memory", "blas"}
"""Modules that everybody may import; among themselves they keep the order of their names in `ORDER`."""

ORDER = (
    "errors",
    "types",
    "geometry",
    "yaml_text",
    "config",
    "files",
    "memory",
    "blas",
    "compute",
    "networks",
    "inference",
    "models",
    "face",
    "expression",
    "depth",
    "mesh",
    "device",
    "pipeline",
    "protocol",
    "sources",
    "outputs",
    "render",
    "recipes",
    "session",
    "still",
    "remote",
    "live",
    "data",
    "evaluation",
    "training",
    "cli",
)
"""Rooms and single modules from the ground up: each may import those before it."""

REMOTE_ORDER = ("settings", "event_loop", "loop_thread", "refusals", "blank", "transport", "client", "server")
"""The same within the remote room: transport thus knows neither clients nor server."""

APART = (
    (("remote", "client"), ("remote", "server")),
    (("remote", "client", "watching"), ("remote", "client", "publishing")),
)
"""Rooms that do not know each other; what both need lies beside or above them."""


WITHOUT_AIORTC = (("remote", "client"), ("remote", "server"))
"""Rooms that know connections as `stream.remote.transport` shows them."""


def imports() -> Iterator[tuple[Path, list[str]]]:
    """Every import of our own modules, wherever in a file it stands, as the parts of its name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "stream":
                for alias in node.names:
                    yield path, [*(node.module or "").split(".")[1:], alias.name]
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("stream."):
                        yield path, alias.name.split(".")[1:]


def place_of(path: Path) -> list[str]:
    return list(path.relative_to(PACKAGE).with_suffix("").parts)


def test_every_room_has_its_place_in_the_order() -> None:
    there = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and path.stem != "__init__")
    }
    assert there == set(ORDER)
    assert set(ORDER) >= GROUND


def test_no_import_points_up() -> None:
    wrong = []
    for path, names in imports():
        here = place_of(path)[0]
        if here == "__init__" or names[0] == here or names[0] not in ORDER:
            continue  # the public face imports from everywhere, when a name is asked for
        if ORDER.index(names[0]) > ORDER.index(here):
            wrong.append(f"{path.relative_to(PACKAGE)} imports {'.'.join(names)}")
    assert not wrong


def test_within_the_remote_room_transport_is_below_clients_and_server() -> None:
    wrong, seen = [], 0
    for path, names in imports():
        place = place_of(path)
        if place[0] != "remote" or names[0] != "remote" or len(names) < 2 or place[-1] == "__init__":
            continue
        here, there = place[1], names[1]
        seen += 1
        if REMOTE_ORDER.index(there) > REMOTE_ORDER.index(here):
            wrong.append(f"{path.relative_to(PACKAGE)} imports {'.'.join(names)}")
    assert seen > 50
    assert not wrong


def test_rooms_that_stand_apart_do_not_import_each_other() -> None:
    wrong, seen = [], set()
    for path, names in imports():
        place = place_of(path)
        for pair in APART:
            for here, other in (pair, pair[::-1]):
                if tuple(place[: len(here)]) == here:
                    seen.add(here)
                    if tuple(names[: len(other)]) == other:
                        wrong.append(f"{path.relative_to(PACKAGE)} imports {'.'.join(names)}")
    assert seen == {room for pair in APART for room in pair}
    assert not wrong


def test_only_transport_knows_the_webrtc_library() -> None:
    for room in WITHOUT_AIORTC:
        for path in sorted(PACKAGE.joinpath(*room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                else:
                    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                assert not {"aiortc", "aioice"} & {name.split(".")[0] for name in names}, path
