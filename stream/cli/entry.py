"""Where the `prosopon` command begins and ends, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""


def run() -> None:
    """Run the command line and leave: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C."""
    try:
        from stream.cli.main import main  # a second of imports, in which Ctrl-C is a sentence, too

        main()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if code == INTERRUPTED:
        print("Stopped.", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> None:
    """End the process with an exit code.

    Where a thread of ours is still in native code (a network that loads, a camera that does not answer),
    taking the interpreter down under it ends in a crash and another exit code: then the process ends at once.
    """
    left = [
        thread for thread in threading.enumerate() if thread.daemon and thread.name.startswith("prosopon-")
    ]
    if not left:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
