"""The `prosopon` command: one module per subcommand; what is heavy is imported only when one runs."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import typer

from stream import __version__
from stream.cli import bench, data, doctor, evaluate, export, live, models, reconstruct, serve, train, view
from stream.cli.system_libraries import missing_library
from stream.cli.words import keep_streams, printable
from stream.errors import ConfigError, ProsoponError

app = typer.Typer(
    name="prosopon",
    help="A camera becomes a live 3D face.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("live")(live.live)
app.command("serve")(serve.serve)
app.command("view")(view.view)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(train.app, name="train")
app.add_typer(export.app, name="export")
app.add_typer(evaluate.app, name="eval")

FAILED, WRONG_USAGE = 1, 2


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
    debug: bool = typer.Option(False, "--debug", help="Show an error's traceback."),
) -> None:
    """Options of every command; ``--debug`` is taken from the line before parsing, see `main`."""
    if version:
        typer.echo(f"prosopon {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns (0 done, 1 failed, 2 wrong usage)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    keep_streams()
    _log_plainly(debug)
    try:
        app(args=[argument for argument in arguments if argument != "--debug"])
    except (ProsoponError, ImportError) as error:
        sentence = str(error) if isinstance(error, ProsoponError) else missing_library(error)
        if debug or sentence is None:
            raise
        print(printable(sentence), file=sys.stderr)
        sys.exit(WRONG_USAGE if isinstance(error, ConfigError) else FAILED)


def _log_plainly(debug: bool) -> None:
    """One sentence a line on standard error; what libraries warn programmers of only with ``--debug``."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(message)s"))
    if not debug:
        handler.addFilter(lambda record: record.name.startswith("stream") or record.levelno >= logging.ERROR)
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler], force=True)
    if not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
