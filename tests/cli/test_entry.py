"""How the command begins and ends: Ctrl-C while it loads, and threads that do not return."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

COMMAND = "from stream.cli.entry import run; run()"


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupted(code: str) -> tuple[int | None, str]:
    """Exit code and standard error of a program that gets Ctrl-C once it has printed a line."""
    process = python(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_ctrl_c_while_it_loads_is_a_line_and_130() -> None:
    loading = f"""
import builtins, sys, time
find = builtins.__import__
def slow(name, *rest):
    if name == "typer":
        print("ready", flush=True)
        time.sleep(30)
    return find(name, *rest)
builtins.__import__ = slow
sys.argv = ["prosopon", "doctor"]
{COMMAND}
"""
    assert interrupted(loading) == (130, "Stopped.\n")


def test_ctrl_c_while_a_command_runs_is_130() -> None:
    waiting = f"""
import sys, time
from stream.cli.main import app
@app.command("wait")
def wait():
    print("ready", flush=True)
    time.sleep(30)
sys.argv = ["prosopon", "wait"]
{COMMAND}
"""
    assert interrupted(waiting) == (130, "Stopped.\n")


def test_a_thread_that_does_not_return_holds_nothing_up_and_changes_no_exit_code() -> None:
    stuck = """
import sys, threading, time
from stream.cli import entry, main
def fail():
    threading.Thread(target=time.sleep, args=[60], name="prosopon-face", daemon=True).start()
    print("said", end="")
    sys.exit(1)
main.main = fail
entry.run()
"""
    begun = time.monotonic()
    process = python(stuck)
    said, wrong = process.communicate(timeout=50)
    assert (process.returncode, said, wrong) == (1, "said", "")
    assert time.monotonic() - begun < 45


def test_exit_codes_are_the_command_s() -> None:
    for ending, code in (("sys.exit(2)", 2), ("sys.exit('gone')", 1), ("sys.exit()", 0), ("None", 0)):
        end = f"import sys; from stream.cli import entry, main; main.main = lambda: {ending}; entry.run()"
        assert subprocess.run([sys.executable, "-c", end], check=False).returncode == code
