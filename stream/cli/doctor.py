"""`prosopon doctor`: what works on this machine, and how to get what does not."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stream.cli.system_libraries import missing_library
from stream.cli.tables import console
from stream.errors import ProsoponError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    :ivar kind: ``source``, ``tracker``, ``inference``, ``compute``, ``render`` or ``model``.
    :ivar why: what was found, or what is missing.
    :ivar how: how to get it; empty where it is ready.
    """

    kind: str
    name: str
    ready: bool
    why: str
    how: str


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would run here instead, and why.")] = False,
) -> None:
    """List every source, backend, render context and model: ready or missing, why, and how to get it."""
    if plan:
        _print_plans(json)
        return
    checks = list(run_checks())
    if json:
        typer.echo(json_format.dumps([asdict(check) for check in checks], indent=2))
        return
    table = Table()
    for heading in ("kind", "name", "state", "why", "how to get it"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        state = Text("ready", "green") if check.ready else Text("missing", "yellow")
        table.add_row(check.kind, check.name, state, check.why, check.how)
    console.print(table)


def _print_plans(json: bool) -> None:
    from stream.cli.plans import machine_plans, plan_table

    plans = machine_plans()
    if json:
        typer.echo(json_format.dumps({use: plan.to_dict() for use, plan in plans.items()}, indent=2))
        return
    for use, plan in plans.items():
        console.print(plan_table(plan, use))


def run_checks() -> Iterator[Check]:
    """Look at everything in turn; a check that fails is a result, not an error."""
    yield _cameras()
    yield _attempt("source", "sample", _sample)
    yield _attempt("source", "file", _video_decoder)
    yield _attempt("source", "images", _image_decoder)
    yield _attempt("tracker", "mediapipe", _tracker)
    yield from _inference()
    yield from _compute()
    yield _attempt("render", "egl", lambda: _render("egl"))
    yield _attempt("render", "window", lambda: _render("window"))
    yield from _models()


def _attempt(kind: str, name: str, look: Callable[[], str]) -> Check:
    """``look`` says what it found, or raises a sentence of the form ``what is missing; what to do``."""
    try:
        return Check(kind, name, True, look(), "")
    except ProsoponError as error:
        sentence = str(error)
    except ImportError as error:
        sentence = missing_library(error) or f"{error}; install it with: pip install prosopon"
    why, _, how = sentence.partition("; ")
    return Check(kind, name, False, why, how)


def _cameras() -> Check:
    devices = sorted(str(path) for path in Path("/dev").glob("video*") if path.is_char_device())
    if devices:
        return Check("source", "webcam", True, ", ".join(devices), "")
    return Check("source", "webcam", False, "no camera is connected", "plug one in, or use --source sample")


def _sample() -> str:
    from stream.sources.factory import open_source

    source = open_source("sample")
    source.open()
    source.close()
    return source.name


def _video_decoder() -> str:
    import av

    return f"PyAV {av.__version__}"


def _image_decoder() -> str:
    import cv2

    return f"OpenCV {cv2.__version__}"


def _tracker() -> str:
    from stream.face.tracker import open_tracker

    open_tracker("mediapipe").close()
    return "face mesh with irises"


def _render(name: str) -> str:
    from stream.render.context import probe_context

    info = probe_context(name)
    return f"{info.renderer}, OpenGL {info.version}"


def _inference() -> Iterator[Check]:
    from stream.inference.backends import backend_status

    for state in backend_status():
        yield Check("inference", state.name, state.ready, state.why, state.how)


def _compute() -> Iterator[Check]:
    from stream.compute.backends import why_not
    from stream.compute.cuda.current import current_driver
    from stream.compute.cuda.libraries import LIBRARIES, describe_compiler, describe_driver, describe_library

    yield _attempt("compute", "cuda", lambda: describe_driver(current_driver()))
    for name in LIBRARIES:
        yield _attempt("compute", f"cuda by {name}", partial(describe_library, name))
    yield _attempt("compute", "cuda compiler", describe_compiler)
    why, _, how = (why_not("numba") or "").partition("; ")
    yield Check("compute", "numba", not why, why or "kernels compile at first use", how)


def _models() -> Iterator[Check]:
    from stream.models.store import list_models

    for state in list_models():
        why, _, how = state.why.partition("; ")
        found = why or f"{state.entry.bytes / 1e6:.1f} MB, sha256 as in the manifest"
        yield Check("model", state.entry.name, state.ready, found, how)
