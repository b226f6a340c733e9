"""BLAS works on one thread in live processes, whatever the environment says."""

import json
import os
import subprocess
import sys

LIVE = """
import json
import numpy as np                                  # before any of ours, as in a program that uses them
from threadpoolctl import threadpool_info
from stream.recipes import CaptureSettings
from stream.session import Session
from stream.sources.factory import open_source

def pools():
    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

class Look:
    name = "look"
    wants = {"face": 30.0}
    seen = {}
    def open(self): pass
    def close(self): pass
    def __call__(self, capture):
        import scipy.linalg                         # brings an OpenBLAS of its own, after the start
        self.seen = pools()
        return capture

before, look = pools(), Look()
Session(open_source("sample", fast=True), [look], CaptureSettings(), frames=2).run()
print(json.dumps([before, look.seen]))
"""


def test_every_blas_of_a_live_process_has_one_thread() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", LIVE], capture_output=True, text=True, check=True, env=environment
    )
    before, during = json.loads(done.stdout.splitlines()[-1])
    if len(os.sched_getaffinity(0)) > 1:
        assert max(before.values()) == 2
    assert before.keys() < during.keys()  # scipy's too
    assert set(during.values()) == {1}
