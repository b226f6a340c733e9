import os
import subprocess
import sys
import threading

import pytest

from stream.face.quiet import QUIET_RUNS, QuietStart, quiet_stderr

CHATTER = (
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n",
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"W0000 00:00:1795159149.780868    6547 inference_feedback_manager.cc:114] Feedback manager\n",
    b"I20261120 07:17:27.123456  6547 gl_context.cc:357] GL version\n",
)


def test_chatter_is_dropped_and_everything_else_is_kept_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"first\n" + b"".join(CHATTER))
        os.write(2, b"second\n")
        os.write(2, b"E0000 00:00:1795159149.780868 6547 graph.cc:1] an error\nno newline")
    os.write(2, b" after")
    assert capfd.readouterr().err == (
        "first\nsecond\nE0000 00:00:1795159149.780868 6547 graph.cc:1] an error\nno newline after"
    )


def test_an_exception_passes_and_the_descriptor_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None

    def fail() -> None:
        with quiet_stderr():
            os.write(2, b"why\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "why\nstill here\n"
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_several_threads_at_once_end_with_the_right_descriptor(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        for _ in range(20):
            with quiet_stderr():
                os.write(2, b"x\n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"end\n")
    assert capfd.readouterr().err == "x\n" * 80 + "end\n"


def test_what_another_thread_writes_meanwhile_comes_whole(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = [f"line {number} of another thread\n".encode() for number in range(3000)]
    begun, done = threading.Event(), threading.Event()

    def talk() -> None:
        for number, line in enumerate(lines):
            if number == 1000:  # however late the other thread comes to run, it meets the rest
                begun.wait()
            os.write(2, line)
        done.set()

    talker = threading.Thread(target=talk)
    talker.start()
    blocks = 0
    while not done.is_set():
        with quiet_stderr():
            os.write(2, CHATTER[blocks % len(CHATTER)])
            blocks += 1
            begun.set()
    talker.join()
    came = capfd.readouterr().err.encode().splitlines(keepends=True)
    assert sorted(came) == sorted(lines)
    assert blocks > 0


def test_only_the_first_runs_are_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    start = QuietStart()
    for run in range(QUIET_RUNS + 2):
        with start.next():
            os.write(2, CHATTER[0])
            os.write(2, b"%d\n" % run)
    chatter = CHATTER[0].decode()
    assert capfd.readouterr().err == f"0\n1\n2\n{chatter}3\n{chatter}4\n"


def test_without_descriptor_2_the_block_just_runs() -> None:
    code = "from stream.face.quiet import quiet_stderr\nwith quiet_stderr(): print('ran')"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], capture_output=True, text=True
    )
    assert done.stdout == "ran\n"


def test_mediapipe_opens_and_meets_a_face_without_a_word() -> None:
    code = (
        "from skimage import data\nfrom stream.face.tracker import open_tracker\n"
        "from stream.types import Frame\n"
        "for static in (False, True):\n"
        "    tracker = open_tracker(static=static)\n"
        "    assert tracker.detect(Frame(data.astronaut(), 0.0, 0, 'photo'))\n"
        "    tracker.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""
